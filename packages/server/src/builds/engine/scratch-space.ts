import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../platform/process.ts';

/** Temporary directories on the pool, where large files can share their blocks with layers. */
export interface ScratchSpace {
  /** A new empty directory. Whoever asks removes it. */
  make(): Promise<string>;
  /** Takes something out of one, to a path of the same file system where nothing is. */
  move(from: string, to: string): Promise<void>;
  remove(directory: string): Promise<void>;
}

const REMOVE_MS = 30 * 60_000;

/** What an earlier server left is removed before the first directory is made. */
export function createScratchSpace(root: string): ScratchSpace {
  let ready: Promise<void> | undefined;
  const remove = async (path: string) => {
    try {
      await rm(path, { recursive: true });
    } catch {
      // Names may be any bytes, and trees of any depth: the tool, which is slower to start, gets along with that.
      await run('rm', ['-rf', '--one-file-system', '--', path], { timeoutMs: REMOVE_MS });
    }
  };
  const prepare = async () => {
    await mkdir(root, { recursive: true, mode: 0o700 });
    for (const name of await readdir(root)) await remove(join(root, name));
  };
  return {
    async make() {
      ready ??= prepare().catch((error: unknown) => {
        ready = undefined;
        throw error;
      });
      await ready;
      const directory = join(root, randomUUID());
      await mkdir(directory, { mode: 0o700 });
      return directory;
    },
    move: rename,
    remove,
  };
}
