import { statfs } from 'node:fs/promises';
import type { DiskUse } from './disk-guard.ts';

/**
 * What the disk of the database and of the logs must keep: without it every change fails, and not only what needs much room. A
 * checkpoint's worth of the database's log.
 */
const RESERVE_BYTES = 256 * 1024 * 1024;

export async function diskUse(path: string): Promise<DiskUse> {
  const { bsize, blocks, bfree, bavail } = await statfs(path);
  return { usedBytes: (blocks - bfree) * bsize, freeBytes: bavail * bsize };
}

/** What may be begun in the pool: its image is sparse, so the disk below it may be the first to be full, by whatever else is on it. */
export async function poolUse(poolRoot: string, stateDir: string): Promise<DiskUse> {
  const [inside, below] = await Promise.all([diskUse(poolRoot), diskUse(stateDir)]);
  return { ...inside, freeBytes: Math.min(inside.freeBytes, Math.max(0, below.freeBytes - RESERVE_BYTES)) };
}
