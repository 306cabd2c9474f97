import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../packages/server/src/platform/process.ts';

/** The name under which the made image is served: what a Dockerfile or a snapshot asks for. */
export const BASE_IMAGE = 'python:3.11.12-slim-bookworm';

const script = join(import.meta.dirname, 'base-image.sh');

/** The base image as `DIR:TAG` of an OCI layout, made from Debian packages at the first call and kept in the checkout's cache. */
export async function baseImageLayout(): Promise<{ layout: string; made: boolean }> {
  const version = createHash('sha256')
    .update(await readFile(script))
    .digest('hex')
    .slice(0, 12);
  const directory = join(import.meta.dirname, '..', '.cache', `base-image-${version}`);
  const made = !existsSync(join(directory, 'index.json'));
  if (made) await run('bash', [script, directory], { timeoutMs: 15 * 60_000 });
  return { layout: `${directory}:python`, made };
}
