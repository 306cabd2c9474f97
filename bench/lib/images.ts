import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { cp, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../packages/server/src/platform/process.ts';
import { baseImageLayout } from '../../scripts/base-image.ts';

const cache = join(import.meta.dirname, '..', '..', '.cache');

/** The base image with one more, uncompressed, layer of `megabytes` random megabytes in `files` files; an OCI layout `DIR:TAG`. */
export async function paddedImage(megabytes: number, files: number): Promise<string> {
  const { layout } = await baseImageLayout();
  const base = layout.replace(/:[^:]*$/, '');
  const directory = join(cache, `padded-${megabytes}-${files}`);
  if (existsSync(directory)) return `${directory}:python`;
  const work = `${directory}.new`;
  await rm(work, { recursive: true, force: true });
  await cp(base, work, { recursive: true });
  await mkdir(join(work, 'padding'));
  const size = Math.round((megabytes * 2 ** 20) / files);
  await run(
    'sh',
    ['-c', `i=0; while [ $i -lt ${files} ]; do head -c ${size} /dev/urandom > padding/$i; i=$((i+1)); done`],
    { timeoutMs: 600_000, cwd: work },
  );
  await run('tar', ['--sort=name', '-cf', 'layer.tar', 'padding'], { timeoutMs: 600_000, cwd: work });
  await rm(join(work, 'padding'), { recursive: true });
  const digest = await digestOf(join(work, 'layer.tar'));
  const layerSize = (await stat(join(work, 'layer.tar'))).size;
  await rename(join(work, 'layer.tar'), blob(work, digest));

  const index = JSON.parse(await readFile(join(work, 'index.json'), 'utf8'));
  const manifest = JSON.parse(await readFile(blob(work, index.manifests[0].digest), 'utf8'));
  const config = JSON.parse(await readFile(blob(work, manifest.config.digest), 'utf8'));
  config.rootfs.diff_ids.push(digest);
  delete config.history;
  manifest.layers.push({ mediaType: 'application/vnd.oci.image.layer.v1.tar', size: layerSize, digest });
  Object.assign(manifest.config, await writeBlob(work, config));
  Object.assign(index.manifests[0], await writeBlob(work, manifest));
  await writeFile(join(work, 'index.json'), JSON.stringify(index));
  await rename(work, directory);
  return `${directory}:python`;
}

const blob = (layout: string, digest: string) => join(layout, 'blobs', 'sha256', digest.replace('sha256:', ''));

async function writeBlob(layout: string, value: unknown): Promise<{ digest: string; size: number }> {
  const bytes = Buffer.from(JSON.stringify(value));
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  await writeFile(blob(layout, digest), bytes);
  return { digest, size: bytes.length };
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return `sha256:${hash.digest('hex')}`;
}
