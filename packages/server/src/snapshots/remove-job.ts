import type { Kysely } from 'kysely';
import type { Builds } from '../builds/index.ts';
import { moveSnapshot } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { JobTypes } from '../platform/jobs.ts';
import type { LayerSweeper } from './layer-sweeper.ts';

export interface RemoveJobDeps {
  db: Kysely<Database>;
  sweeper: Pick<LayerSweeper, 'request'>;
  builds: Pick<Builds, 'discard'>;
}

/** Deletes the row of a snapshot that was deleted, and its build with the log; its layers go with a sweep once nothing else needs them. Re-entrant. */
export async function removeSnapshot(deps: RemoveJobDeps, { snapshotId }: JobTypes['snapshot.remove']): Promise<void> {
  const row = await deps.db.selectFrom('snapshots').select('build_id').where('id', '=', snapshotId).executeTakeFirst();
  // The row of the build goes with the snapshot's; what writes its log must have ended before.
  if (row?.build_id != null) await deps.builds.discard(row.build_id);
  await failpoint('delete.build-discarded');
  await moveSnapshot(deps.db, snapshotId, { from: ['removing'], to: 'gone', actor: 'job:snapshot.remove' });
  await failpoint('delete.row-removed');
  deps.sweeper.request();
}
