import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DarkroomError, errnoOf, messageOf } from '../platform/errors.ts';
import type { Scene } from './types.ts';

/** Always the same, so that a killed run leaves one at most. */
const PROBE = '.fsck-probe';

/**
 * Raises where the pool as a whole does not take what is written: a disk that is away for a while, or a file system that has shut itself down, makes
 * everything look lost that is there again a moment later. Nothing may be given up for that.
 */
export async function assertPoolAnswers({ poolRoot }: Pick<Scene, 'poolRoot'>): Promise<void> {
  const path = join(poolRoot, PROBE);
  try {
    const file = await open(path, 'w', 0o600);
    try {
      await file.writeFile('1');
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (cause) {
    // A full one answers, and repairs may make room.
    if (['ENOSPC', 'EDQUOT'].includes(errnoOf(cause) ?? '')) return;
    throw new DarkroomError('unavailable', `the pool does not answer, so nothing is repaired: ${messageOf(cause)}`, {
      cause,
      hint: 'The kernel log (`dmesg`) may say why. Look at the disk and mount the pool anew, then run it again.',
      retryable: true,
    });
  } finally {
    await rm(path, { force: true }).catch(() => {});
  }
}
