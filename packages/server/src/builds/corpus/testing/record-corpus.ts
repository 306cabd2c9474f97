import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { baseLayerTar } from './base-image.ts';
import { writeContext } from './context-files.ts';
import { changesFrom, configOf, fileLines, type ImageDescription } from './describe-image.ts';
import { writeBaseLayout } from './oci-layout.ts';
import { type CorpusCase, keyOf, readCases } from './read-cases.ts';

/**
 * Writes `buildkit-images.json` anew: what BuildKit makes of the corpus. Needs root and a running buildkitd with the overlayfs snapshotter:
 *
 *     node record-corpus.ts BUILDCTL unix:///run/buildkit/buildkitd.sock [WORDS OF A NAME]
 *
 * With a third argument only cases that have it in their names are built, and shown.
 */
const [buildctl, address, only] = process.argv.slice(2);
if (buildctl === undefined || address === undefined) throw new Error('usage: record-corpus.ts BUILDCTL ADDRESS');

const root = mkdtempSync(join(tmpdir(), 'record-'));
const layout = join(root, 'layout');
const OUTPUT = new URL('./buildkit-images.json', import.meta.url);
const indexSchema = z.object({ manifests: z.array(z.object({ digest: z.string() })) });
const manifestSchema = z.object({ config: z.object({ digest: z.string() }) });
const imageSchema = z.object({ config: z.record(z.string(), z.unknown()).default({}) });

function unpack(archive: string | Buffer, name: string): string {
  const directory = join(root, name);
  mkdirSync(directory);
  const options = ['-xp', '--numeric-owner', '--xattrs', '--xattrs-include=*', '-C', directory];
  if (typeof archive === 'string') execFileSync('tar', [...options, '-f', archive]);
  else execFileSync('tar', options, { input: archive });
  return directory;
}

function build(each: CorpusCase, index: number, images: readonly string[]): ImageDescription | { words: string } {
  const directory = join(root, `case-${index}`);
  const context = join(directory, 'context');
  const oci = join(directory, 'oci');
  const tar = join(directory, 'out.tar');
  writeContext(each, context);
  writeFileSync(join(context, 'Dockerfile'), withoutFrontend(each.dockerfile));
  const secrets = [...each.secrets].flatMap(([id, value]) => {
    writeFileSync(join(directory, id), value);
    return ['--secret', `id=${id},src=${join(directory, id)}`];
  });
  const args = [...each.buildArgs].flatMap(([name, value]) => ['--opt', `build-arg:${name}=${value}`]);
  const target = each.target === undefined ? [] : ['--opt', `target=${each.target}`];
  const where = ['--local', `context=${context}`, '--local', `dockerfile=${context}`];
  const outputs = ['--output', `type=tar,dest=${tar}`, '--output', `type=oci,dest=${oci},tar=false`];
  const { status, stderr } = spawnSync(
    buildctl ?? '',
    [
      ...['--addr', address ?? '', 'build', '--no-cache', '--progress=plain', '--frontend', 'dockerfile.v0'],
      ...[...images, ...where, ...args, ...target, ...secrets, ...outputs],
    ],
    { encoding: 'utf8' },
  );
  if (status !== 0) return { words: stderr.trim().split('\n').slice(-12).join('\n') };
  const tree = unpack(tar, `tree-${index}`);
  const files = changesFrom(baseLines, fileLines(tree, 0));
  const blob = (digest: string): unknown =>
    JSON.parse(readFileSync(join(oci, 'blobs', digest.replace(':', '/')), 'utf8'));
  const [manifest] = indexSchema.parse(JSON.parse(readFileSync(join(oci, 'index.json'), 'utf8'))).manifests;
  const { config } = manifestSchema.parse(blob(manifest?.digest ?? ''));
  const image = imageSchema.parse(blob(config.digest));
  for (const path of [tree, directory]) rmSync(path, { recursive: true, force: true });
  return { files, config: configOf(image.config) };
}

/** Another frontend than the one that is built in would have to be fetched. */
function withoutFrontend(dockerfile: string): string {
  return dockerfile.replace(/^# syntax=.*$/m, '#');
}

let baseLines: string[] = [];
try {
  baseLines = fileLines(unpack(await baseLayerTar(), 'base'), 0);
  const digests = await writeBaseLayout(layout);
  const images = ['--oci-layout', `layout=${layout}`].concat(
    [...digests].flatMap(([name, digest]) => ['--opt', `context:${name}=oci-layout://layout@${digest}`]),
  );
  const recorded: Record<string, ImageDescription> = {};
  for (const [index, each] of readCases().entries()) {
    if (only !== undefined && !keyOf(each).includes(only)) continue;
    const result = build(each, index, images);
    if ('words' in result) {
      if (each.says === undefined || only !== undefined) console.log(`=== ${keyOf(each)}: FAILED\n${result.words}`);
    } else if (each.says !== undefined) console.log(`=== ${keyOf(each)}: BUILT`);
    else recorded[keyOf(each)] = result;
    if (only !== undefined) console.log(keyOf(each), result);
  }
  const before: unknown = only === undefined ? {} : JSON.parse(readFileSync(OUTPUT, 'utf8'));
  writeFileSync(OUTPUT, `${JSON.stringify({ ...Object(before), ...recorded }, undefined, 2)}\n`);
} finally {
  rmSync(root, { recursive: true, force: true });
}
