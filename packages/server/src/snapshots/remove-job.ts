import type { Kysely } from 'kysely';
import { moveSnapshot } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import type { JobTypes } from '../platform/jobs.ts';
import type { LayerSweeper } from './layer-sweeper.ts';

export interface RemoveJobDeps {
  db: Kysely<Database>;
  sweeper: Pick<LayerSweeper, 'request'>;
}

/** Deletes the row of a snapshot that was deleted; its layers go with a sweep once nothing else needs them. Re-entrant. */
export async function removeSnapshot(deps: RemoveJobDeps, { snapshotId }: JobTypes['snapshot.remove']): Promise<void> {
  await moveSnapshot(deps.db, snapshotId, { from: ['removing'], to: 'gone', actor: 'job:snapshot.remove' });
  deps.sweeper.request();
}
