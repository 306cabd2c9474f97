import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { baseLayerTar } from './base-image.ts';
import { writeContext } from './context-files.ts';
import { changesFrom, configOf, fileLines, type ImageDescription } from './describe-image.ts';
import { startFileServer } from './file-server.ts';
import { writeBaseLayout } from './oci-layout.ts';
import { type CorpusCase, keyOf, readCases, withServers } from './read-cases.ts';
import { readRecorded } from './recorded.ts';

/**
 * Writes `buildkit-images.json` anew: what BuildKit makes of the corpus. Needs root and a running buildkitd with the overlayfs snapshotter:
 *
 *     node record-corpus.ts BUILDCTL unix:///run/buildkit/buildkitd.sock [PATTERN]
 *
 * With a third argument only cases whose names it matches are built, and shown.
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

async function build(
  each: CorpusCase,
  index: number,
  images: readonly string[],
): Promise<ImageDescription | { words: string }> {
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
  const how = ['--addr', address ?? '', 'build', '--no-cache', '--progress=plain', '--frontend', 'dockerfile.v0'];
  const all = [...how, ...images, ...where, ...args, ...target, ...secrets, ...outputs];
  const { failed, stderr } = await new Promise<{ failed: boolean; stderr: string }>((resolve) => {
    execFile(buildctl ?? '', all, (error, _, stderr) => resolve({ failed: error !== null, stderr }));
  });
  if (failed) return { words: stderr.trim().split('\n').slice(-12).join('\n') };
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
const server = await startFileServer();
try {
  baseLines = fileLines(unpack(await baseLayerTar(), 'base'), 0);
  const digests = await writeBaseLayout(layout);
  const images = ['--oci-layout', `layout=${layout}`].concat(
    [...digests].flatMap(([name, digest]) => ['--opt', `context:${name}=oci-layout://layout@${digest}`]),
  );
  const recorded: Record<string, ImageDescription> = {};
  for (const [index, written] of readCases().entries()) {
    const each = withServers(written, server);
    if (only !== undefined && !new RegExp(only).test(keyOf(each))) continue;
    const result = await build(each, index, images);
    const isBuilt = !('words' in result);
    if (isBuilt !== (each.says === undefined) && each.why === undefined) console.log(`=== ${keyOf(each)}: unexpected`);
    if (isBuilt === (each.says === undefined) && each.why !== undefined)
      console.log(`=== ${keyOf(each)}: no difference`);
    if (only !== undefined) console.log(keyOf(each), result);
    if (isBuilt && each.says === undefined) recorded[keyOf(each)] = result;
  }
  const before = only === undefined ? {} : readRecorded();
  const all = { ...before, ...recorded };
  const inOrder = readCases().flatMap((each) => {
    const image = all[keyOf(each)];
    return image === undefined ? [] : [[keyOf(each), image]];
  });
  writeFileSync(OUTPUT, `${JSON.stringify(Object.fromEntries(inOrder), undefined, 2)}\n`);
} finally {
  await server.close();
  rmSync(root, { recursive: true, force: true });
}
