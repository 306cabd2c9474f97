import type { Kysely } from 'kysely';
import { moveSnapshot } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import type { JobQueue } from '../platform/jobs.ts';

export interface RecoverDeps {
  db: Kysely<Database>;
  jobs: JobQueue;
}

/** At start: every snapshot that a process left in the middle gets its job again. Returns how many there were. */
export async function recoverSnapshots(deps: RecoverDeps): Promise<number> {
  const rows = await deps.db
    .selectFrom('snapshots')
    .leftJoin('instances', 'instances.id', 'snapshots.owner_id')
    .select(['snapshots.id', 'snapshots.state', 'instances.lease_expires_at'])
    .where('snapshots.state', 'in', ['pending', 'pulling', 'removing'])
    .execute();
  let recovered = 0;
  for (const { id, state, lease_expires_at: lease } of rows) {
    if (lease !== null && lease > new Date()) continue;
    if (await takeUpSnapshot(deps, { id, state })) recovered++;
  }
  return recovered;
}

/**
 * Gives a snapshot whose server ended its job again. A pull begins anew (its finished layers are kept). Where a job is still
 * queued, the second of the two finds nothing left to do. False when nothing here works on that state.
 */
export async function takeUpSnapshot(
  { db, jobs }: RecoverDeps,
  { id, state }: { id: string; state: string },
): Promise<boolean> {
  if (!['pending', 'pulling', 'removing'].includes(state)) return false;
  await db.transaction().execute(async (trx) => {
    if (state === 'pulling') {
      const reason = 'The server that pulled the image ended';
      const moved = await moveSnapshot(trx, id, { from: ['pulling'], to: 'pending', actor: 'system', reason });
      // Another server was quicker.
      if (moved === undefined) return;
    }
    if (state === 'removing') await jobs.enqueue(trx, 'snapshot.remove', id, { snapshotId: id });
    else await jobs.enqueue(trx, 'snapshot.pull', id, { snapshotId: id });
  });
  return true;
}
