import { closeSync, constants, lstat, type Stats } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { promisify } from 'node:util';
import { errnoOf } from '../../platform/errors.ts';
import { openat2 } from '../../platform/libc-files.ts';
import { PLAIN_NAME } from './directory-place.ts';

/** Of one look; a directory may have millions. */
const BATCH = 128;

const lstatAsync = promisify<Buffer, Stats>(lstat);

/** Through the kernel's link to our own descriptor: the directory that is open, whatever happens to its path. */
export function pathInDirectory(directory: number, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), name]);
}

export interface Name {
  name: Buffer;
  /** What the directory says; not to be relied on. */
  isDirectory: boolean;
}

/** The names in an open directory (a descriptor of `O_PATH` will do), some at a time. */
export async function* namesIn(directory: number): AsyncGenerator<Name[]> {
  // One letter for each byte, which is the way to have names of any bytes here.
  const reader = await opendir(`/proc/self/fd/${directory}`, { encoding: 'latin1', bufferSize: BATCH });
  try {
    let batch: Name[] = [];
    for (;;) {
      const found = await reader.read();
      if (found !== null) batch.push({ name: Buffer.from(found.name, 'latin1'), isDirectory: found.isDirectory() });
      if (batch.length > 0 && (found === null || batch.length === BATCH)) {
        yield batch;
        batch = [];
      }
      if (found === null) return;
    }
  } finally {
    await reader.close();
  }
}

/** The same with what each of them is, not followed; names that vanish meanwhile are left out. */
export async function* entriesIn(directory: number): AsyncGenerator<(Name & { stats: Stats })[]> {
  for await (const batch of namesIn(directory)) {
    // All of them must have come back before the descriptor may be closed: its number could be another's by then.
    const looks = await Promise.allSettled(batch.map(({ name }) => lstatAsync(pathInDirectory(directory, name))));
    yield batch.flatMap((entry, index) => {
      const look = looks[index];
      return look?.status === 'fulfilled' ? [{ ...entry, stats: look.value }] : [];
    });
  }
}

/** Opens a directory by its name, if it is one and no link; undefined otherwise, or when it is gone. */
export function openDirectoryAt(directory: number, name: Buffer): number | undefined {
  try {
    return openat2(directory, name, { flags: constants.O_RDONLY | constants.O_DIRECTORY, resolve: PLAIN_NAME });
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOTDIR' || code === 'ELOOP' || code === 'ENOENT' || code === 'EACCES') return undefined;
    throw error;
  }
}

/** Closes all, whatever happens to one. */
export function closeAll(descriptors: Iterable<number>): void {
  for (const fd of descriptors) closeSync(fd);
}
