import { type Kysely, sql } from 'kysely';
import { moveSnapshot } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { failpoint } from '../platform/failpoints.ts';
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
    .select(['snapshots.id', 'snapshots.state', 'snapshots.owner_id'])
    .select(sql<boolean>`coalesce(instances.lease_expires_at > now(), false)`.as('is_worked_on'))
    .where('snapshots.state', 'in', [...TAKEN_UP])
    .execute();
  let recovered = 0;
  for (const { id, state, owner_id: ownerId, is_worked_on: isWorkedOn } of rows) {
    if (isWorkedOn) continue;
    if (await takeUpSnapshot(deps, { id, state, ownerId })) recovered++;
  }
  await failpoint('recover.snapshots');
  return recovered;
}

const TAKEN_UP = ['pending', 'pulling', 'building', 'removing'] as const;

/**
 * Gives a snapshot whose server ended its job again. A pull begins anew (its finished layers are kept), a build goes on from the cache. Where a job is still
 * queued, the second of the two finds nothing left to do. False when nothing here works on that state.
 */
export async function takeUpSnapshot(
  { db, jobs }: RecoverDeps,
  { id, state, ownerId }: { id: string; state: string; ownerId: string | null },
): Promise<boolean> {
  if (!TAKEN_UP.some((known) => known === state)) return false;
  if (state === 'building') return takeUpBuild({ db, jobs }, id, ownerId);
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

async function takeUpBuild({ db, jobs }: RecoverDeps, id: string, ownerId: string | null): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    const reason = 'The server that worked on the build ended';
    const row =
      ownerId === null
        ? await trx.selectFrom('snapshots').select('build_id').where('id', '=', id).executeTakeFirst()
        : await moveSnapshot(trx, id, { from: ['building'], to: 'building', actor: 'system', heldBy: ownerId, reason });
    // Without one, another server was quicker.
    if (row?.build_id != null) await jobs.enqueue(trx, 'snapshot.build', row.build_id, { buildId: row.build_id });
    return true;
  });
}
