import { open, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DarkroomError } from '../platform/errors.ts';
import { run } from '../platform/process.ts';
import { refreshLoopDevice } from './loop-devices.ts';

const MIB = 1024 * 1024;
const TOOL_TIMEOUT_MS = 60_000;

/**
 * Makes a mounted image as large as the configuration now wants it. Each step can be done again, so a killed call is completed by
 * the next. A smaller limit changes nothing: XFS does not shrink.
 */
export async function growPoolImage(image: string, device: string, root: string, maxBytes: number): Promise<void> {
  const { size, blocks } = await stat(image);
  const wanted = Math.floor(maxBytes / MIB) * MIB;
  if (wanted > size) {
    // st_blocks counts in 512 bytes, whatever the file system's own blocks are.
    await refuseTooMuch(dirname(image), wanted - blocks * 512);
    const file = await open(image, 'r+');
    try {
      await file.truncate(wanted);
      await file.sync();
    } finally {
      await file.close();
    }
  }
  await refreshLoopDevice(device);
  // Says so and does nothing when the data section is as large as the device already.
  await run('xfs_growfs', ['-d', root], { timeoutMs: TOOL_TIMEOUT_MS });
}

async function refuseTooMuch(directory: string, more: number): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  if (more <= free) return;
  throw new DarkroomError(
    'insufficient_storage',
    `${directory} has ${Math.floor(free / MIB)} MiB free; the pool would grow by ${Math.ceil(more / MIB)} MiB`,
    { hint: 'Free some disk, or lower pool.maxBytes.' },
  );
}
