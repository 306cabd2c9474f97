import { mkdir, mkdtemp, open, rm, statfs, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../../../packages/server/src/platform/process.ts';

/** A file system of its own on a loop device, for a test to fill or to slow down. */
export interface SmallDisk {
  readonly path: string;
  /** `/dev/loopN`. */
  readonly device: string;
  /** Writes until nothing more can be written; again when something was deleted since. */
  fill(): Promise<void>;
  /** Gives back what `fill` took. */
  makeRoom(): Promise<void>;
  /** Ends the mount and its loop device, also while something still uses it. */
  remove(): Promise<void>;
}

export async function makeSmallDisk(options: {
  bytes: number;
  fileSystem: 'ext4' | 'xfs';
  /** Where to mount it; by default a directory of its own. */
  at?: string;
}): Promise<SmallDisk> {
  const directory = await mkdtemp(join(tmpdir(), 'darkroom-disk-'));
  const image = join(directory, 'image');
  const path = options.at ?? join(directory, 'mount');
  const filler = join(path, 'filler');
  const remove = async () => {
    await run('umount', ['--lazy', path], { timeoutMs: 30_000, okCodes: [0, 1, 32] });
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await mkdir(path, { recursive: true });
    await writeFile(image, '');
    await truncate(image, Math.floor(options.bytes));
    const mkfs = options.fileSystem === 'ext4' ? ['-q', '-m', '0', '-F', image] : ['-q', '-m', 'reflink=1', image];
    await run(`mkfs.${options.fileSystem}`, mkfs, { timeoutMs: 60_000 });
    // The loop device goes with its last mount.
    await run('mount', ['-o', 'loop,noatime', image, path], { timeoutMs: 30_000 });
    const { stdout } = await run('findmnt', ['-n', '-o', 'SOURCE', '--mountpoint', path], { timeoutMs: 10_000 });
    return {
      path,
      device: stdout.trim(),
      remove,
      fill: () => fill(path, filler),
      makeRoom: () => rm(filler, { force: true }),
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function fill(path: string, filler: string): Promise<void> {
  const file = await open(filler, 'a');
  try {
    for (const size of [8 * 2 ** 20, 2 ** 16, 4096]) {
      const zeros = Buffer.alloc(size);
      for (let left = (await statfs(path)).blocks; left > 0; left--) {
        const { bytesWritten } = await file.write(zeros).catch((error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOSPC') return { bytesWritten: 0 };
          throw error;
        });
        if (bytesWritten < size) break;
      }
    }
    await file.sync().catch(() => {});
  } finally {
    await file.close();
  }
}
