import type { Kysely } from 'kysely';
import { moveSnapshot } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import type { JobQueue } from '../platform/jobs.ts';

export interface RecoverDeps {
  db: Kysely<Database>;
  jobs: JobQueue;
}

/**
 * At start: every snapshot that a process left in the middle gets its job again. A pull of a dead server begins anew
 * (its finished layers are kept); jobs that are still queued are not doubled, because a key has one job at a time.
 */
export async function recoverSnapshots({ db, jobs }: RecoverDeps): Promise<number> {
  const rows = await db
    .selectFrom('snapshots')
    .leftJoin('instances', 'instances.id', 'snapshots.owner_id')
    .select(['snapshots.id', 'snapshots.state', 'instances.lease_expires_at'])
    .where('snapshots.state', 'in', ['pending', 'pulling', 'removing'])
    .execute();
  let recovered = 0;
  for (const { id, state, lease_expires_at: lease } of rows) {
    if (state === 'pulling' && lease !== null && lease > new Date()) continue;
    await db.transaction().execute(async (trx) => {
      if (state === 'pulling') {
        const change = { from: ['pulling'], to: 'pending', actor: 'system' } as const;
        if ((await moveSnapshot(trx, id, { ...change, reason: 'Its server ended' })) === undefined) return;
      }
      if (state === 'removing') await jobs.enqueue(trx, 'snapshot.remove', id, { snapshotId: id });
      else await jobs.enqueue(trx, 'snapshot.pull', id, { snapshotId: id });
      recovered++;
    });
  }
  return recovered;
}
