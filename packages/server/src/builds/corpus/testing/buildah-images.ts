import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { MNT_DETACH, mount, unmount } from '../../../platform/libc.ts';
import { run } from '../../../platform/process.ts';
import { BASE_NAMES } from './base-image.ts';
import { writeContext } from './context-files.ts';
import { changesFrom, configOf, fileLines, type ImageDescription } from './describe-image.ts';
import { tagOf, writeBaseLayout } from './oci-layout.ts';
import type { CorpusCase } from './read-cases.ts';

/** Debian's buildah over the base images of the corpus, with a storage of its own. */
export interface BuildahImages {
  build(each: CorpusCase): Promise<ImageDescription>;
  close(): Promise<void>;
}

/** What it leaves of its own in every image with a step. */
const TRACES = /^\/(etc directory|etc\/hostname|run directory) /;

function ownConfig({ Hostname: _, Labels, ...config }: Record<string, unknown>): Record<string, unknown> {
  const labels = Object.entries(Labels ?? {}).filter(([name]) => name !== 'io.buildah.version');
  return configOf({ ...config, Labels: Object.fromEntries(labels) });
}

const inspected = z.object({ Docker: z.object({ config: z.record(z.string(), z.unknown()).nullish() }) });

export async function openBuildahImages(): Promise<BuildahImages> {
  // It calls an image after the path that it was pulled from, and takes no capitals there.
  const root = join(tmpdir(), `buildah-corpus-${randomBytes(8).toString('hex')}`);
  mkdirSync(root);
  // In memory nothing waits for a disk, and overlayfs is there whatever the machine's own file system is.
  mount('tmpfs', root, 'tmpfs', 0, 'size=1g');
  const storage = ['--root', join(root, 'storage'), '--runroot', join(root, 'run'), '--storage-driver', 'overlay'];
  const buildah = (...args: string[]) => run('buildah', [...storage, ...args], { timeoutMs: 60_000 });
  const layout = join(root, 'layout');
  let builds = 0;

  /** The lines of what is in an image. */
  async function linesOf(image: string): Promise<string[]> {
    const { stdout: container } = await buildah('from', '--pull-never', image);
    const { stdout: directory } = await buildah('mount', container.trim());
    const lines = fileLines(directory.trim(), 0);
    await buildah('rm', container.trim());
    return lines;
  }

  async function close(): Promise<void> {
    await buildah('rm', '--all').catch(() => {});
    unmount(root, MNT_DETACH);
    rmSync(root, { recursive: true, force: true });
  }

  let base: string[];
  try {
    await writeBaseLayout(layout);
    for (const name of BASE_NAMES) {
      const { stdout: id } = await buildah('pull', '--quiet', `oci:${layout}:${tagOf(name)}`);
      await buildah('tag', id.trim(), name);
    }
    base = await linesOf(BASE_NAMES[0] ?? '');
  } catch (error) {
    await close();
    throw error;
  }

  return {
    async build(each) {
      builds += 1;
      const image = `built-${builds}`;
      const directory = join(root, image);
      const context = join(directory, 'context');
      writeContext(each, context);
      const dockerfile = join(context, 'Dockerfile');
      writeFileSync(dockerfile, each.dockerfile);
      mkdirSync(join(directory, 'secrets'));
      const secrets = [...each.secrets].flatMap(([id, value]) => {
        const file = join(directory, 'secrets', id);
        writeFileSync(file, value);
        return ['--secret', `id=${id},src=${file}`];
      });
      const buildArgs = [...each.buildArgs].flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]);
      const target = each.target === undefined ? [] : ['--target', each.target];
      const how = ['--isolation', 'chroot', '--pull-never', '--layers=false', '--format', 'docker', '--quiet'];
      await buildah('bud', ...how, ...secrets, ...buildArgs, ...target, '-f', dockerfile, '-t', image, context);
      const { stdout } = await buildah('inspect', '--type', 'image', image);
      const { Docker } = inspected.parse(JSON.parse(stdout));
      const files = changesFrom(base, await linesOf(image));
      return { files: files.filter((line) => !TRACES.test(line)), config: ownConfig(Docker.config ?? {}) };
    },
    close,
  };
}
