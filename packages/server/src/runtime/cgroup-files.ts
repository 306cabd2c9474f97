import type { Dirent } from 'node:fs';
import { readdir, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { conflict, errnoOf } from '../platform/errors.ts';

/** A file of a cgroup; undefined when the cgroup is gone. ENODEV is the kernel's word for one that goes during the read. */
export async function readCgroupFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** The number behind a key in a file of `key number` lines, such as memory.events. */
export function flatKey(text: string | undefined, key: string): number | undefined {
  for (const line of text?.split('\n') ?? []) {
    const [name, value] = line.split(' ');
    if (name === key) return Number(value);
  }
  return undefined;
}

export async function readCgroupNumber(path: string): Promise<number | undefined> {
  const text = await readCgroupFile(path);
  return text === undefined ? undefined : Number(text.trim());
}

/** Names of the cgroups directly in a directory; none when it is gone. */
export async function childCgroups(directory: string): Promise<string[]> {
  let entries: Dirent[];
  try {
    entries = await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

/** Processes of a cgroup and of all below it: a container may make cgroups of its own. */
export async function processesOf(directory: string): Promise<number[]> {
  const text = (await readCgroupFile(join(directory, 'cgroup.procs'))) ?? '';
  const own = text.split('\n').filter(Boolean).map(Number);
  const below = await Promise.all((await childCgroups(directory)).map((name) => processesOf(join(directory, name))));
  return [...own, ...below.flat()];
}

/** The kernel lets go of a killed process a moment after it is gone. */
const BUSY_PATIENCE_MS = 3000;

/** Removes a cgroup and all below it. Raises `conflict` when processes stay in it. Nothing to do when it is gone. */
export async function removeCgroupTree(directory: string): Promise<void> {
  const deadline = performance.now() + BUSY_PATIENCE_MS;
  for (;;) {
    for (const name of await childCgroups(directory)) await removeCgroupTree(join(directory, name));
    try {
      return await rmdir(directory);
    } catch (error) {
      if (isGone(error)) return;
      if (errnoOf(error) !== 'EBUSY') throw error;
      if (performance.now() >= deadline) {
        const pids = await processesOf(directory);
        throw conflict(`cgroup ${directory} still has processes: ${pids.join(' ')}`, { details: { pids } });
      }
    }
    await sleep(10);
  }
}

function isGone(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === 'ENOENT' || errno === 'ENODEV';
}
