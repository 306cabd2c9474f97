import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { sql } from 'kysely';
import { DarkroomError, errnoOf, messageOf } from '../platform/errors.ts';
import type { Scene } from './types.ts';

/** Raises where the pool is not to be believed: nothing may be given up for what it lacks then. */
export async function assertPool(scene: Scene): Promise<void> {
  await assertAnswers(scene);
  await assertFilled(scene);
}

/** A pool whose disk is not mounted looks like one that was made just now. */
async function assertFilled({ store, db, runnerId }: Scene): Promise<void> {
  if ((await store.list()).length > 0) return;
  const { rows } = await sql`
    select from snapshots where state = 'active' and cardinality(layers) > 0 and coalesce(runner_id, ${runnerId}) = ${runnerId}
    union all
    select from sandboxes where state not in ('destroying', 'destroyed') and cardinality(layers) > 0 and runner_id = ${runnerId}
    limit 1`.execute(db);
  if (rows.length === 0) return;
  throw new DarkroomError('unavailable', 'the pool has no layer at all, and rows name some, so nothing is repaired', {
    hint: 'Its disk may not be mounted. Where the pool is lost for good, pull any image first: from then on this is the pool.',
    retryable: true,
  });
}

/** Always the same, so that a killed run leaves one at most. */
const PROBE = '.fsck-probe';

/** A disk that is away for a while, or a file system that has shut itself down, makes everything look lost that is there again a moment later. */
async function assertAnswers({ poolRoot }: Scene): Promise<void> {
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
