import type { Kysely } from 'kysely';
import { moveSnapshot } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { forbidden } from '../platform/errors.ts';
import type { JobQueue } from '../platform/jobs.ts';
import { type AuthContext, actorOf } from '../tenancy/auth-context.ts';
import { findOwnSnapshot, isUuid, snapshotNotFound } from './find.ts';

export interface DeleteDeps {
  db: Kysely<Database>;
  jobs: JobQueue;
}

/**
 * Takes the snapshot out of sight: its name is free and it cannot be read when this returns. A pull or a build that runs is cancelled.
 * The row and the layers go in the background; sandboxes that run from it keep theirs. Deleting it again is no error while
 * its row is still there.
 */
export async function deleteSnapshot(deps: DeleteDeps, auth: AuthContext, idOrName: string): Promise<void> {
  const own = await findOwnSnapshot(deps.db, auth.organizationId, idOrName);
  if (own === undefined && (await isRemoving(deps.db, auth.organizationId, idOrName))) return;
  if (own === undefined) throw snapshotNotFound(idOrName);
  const { id, general } = own;
  if (general) throw forbidden('You cannot delete a general snapshot');
  await deps.db.transaction().execute(async (trx) => {
    const moved = await moveSnapshot(trx, id, {
      from: ['pending', 'pulling', 'building', 'snapshotting', 'active', 'inactive', 'error', 'build_failed'],
      to: 'removing',
      actor: actorOf(auth),
    });
    // Somebody else deleted it in between: that is what was asked for.
    if (moved === undefined) return;
    await deps.jobs.enqueue(trx, 'snapshot.remove', id, { snapshotId: id });
  });
  await deps.jobs.cancel('snapshot.pull', id);
}

async function isRemoving(db: Kysely<Database>, organizationId: string, id: string): Promise<boolean> {
  if (!isUuid(id)) return false;
  const row = await db
    .selectFrom('snapshots')
    .select('id')
    .where('id', '=', id)
    .where('organization_id', '=', organizationId)
    .where('state', '=', 'removing')
    .executeTakeFirst();
  return row !== undefined;
}
