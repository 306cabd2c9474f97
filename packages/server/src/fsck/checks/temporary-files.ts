import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../platform/errors.ts';
import { run } from '../../platform/process.ts';
import type { Check, Finding, Scene } from '../types.ts';

/** Where work in progress lies. All of it belongs to the process that made it, and to nobody when that has ended. */
const PLACES = ['tmp', 'build-tmp', join('layers', 'tmp')];
const REMOVE_MS = 30 * 60_000;

export const temporaryFiles: Check = {
  name: 'temporary-files',
  title: 'temporary files',
  async *find(scene) {
    for (const place of PLACES) {
      for (const name of await namesIn(join(scene.poolRoot, place))) {
        const where = join(scene.poolRoot, place, name);
        if (!(await isNobodys(scene, where))) continue;
        yield {
          kind: 'temporary',
          id: name,
          where,
          problem: 'whoever made it has ended, and left it',
          repair: { does: 'remove it', run: () => remove(scene, where) },
        } satisfies Finding;
      }
    }
  },
};

export async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** It was there before this process, or no server runs; what the server that runs has begun to remove since it started takes its time. */
async function isNobodys({ offline, startedAt, graceMs }: Scene, path: string): Promise<boolean> {
  if (offline) return true;
  try {
    const { birthtime, ctimeMs } = await lstat(path);
    return birthtime < startedAt && ctimeMs < Date.now() - graceMs;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

async function remove(scene: Scene, path: string): Promise<string | undefined> {
  if (!(await isNobodys(scene, path))) return undefined;
  await removeTree(path, scene.signal);
  return 'removed';
}

/** With a tool, because names may be any bytes, and trees of any depth. */
export async function removeTree(path: string, signal: AbortSignal): Promise<void> {
  await run('rm', ['-rf', '--one-file-system', '--', path], { timeoutMs: REMOVE_MS, signal });
}
