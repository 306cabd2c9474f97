import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../platform/process.ts';
import type { BuildEngineDeps } from './engine-deps.ts';

/** Temporary directories on the pool, where large files can share their blocks with layers. */
export interface ScratchSpace {
  /** A new empty directory. Whoever asks removes it. */
  make(): Promise<string>;
  /** Takes something out of one, to a path of the same file system where nothing is. */
  move(from: string, to: string): Promise<void>;
  remove(directory: string): Promise<void>;
  /** Waits for what is removed in the background. */
  close(): Promise<void>;
}

const REMOVE_MS = 30 * 60_000;

/** What an earlier server left is removed at once, in the background. */
export function createScratchSpace(root: string, log: BuildEngineDeps['log']): ScratchSpace {
  let ready: Promise<void> | undefined;
  let leftovers: string[] = [];
  let isClosing = false;
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
    leftovers = (await readdir(root)).map((name) => join(root, name));
  };
  const clear = async () => {
    await begin();
    for (const path of leftovers) if (!isClosing) await remove(path);
  };
  const begin = () => {
    ready ??= prepare().catch((error: unknown) => {
      ready = undefined;
      throw error;
    });
    return ready;
  };
  const clearing = clear().catch((err: unknown) =>
    log.warn({ err }, 'what an earlier server left of builds was not removed'),
  );
  return {
    async make() {
      await begin();
      const directory = join(root, randomUUID());
      await mkdir(directory, { mode: 0o700 });
      return directory;
    },
    move: rename,
    remove,
    async close() {
      isClosing = true;
      await clearing;
    },
  };
}
