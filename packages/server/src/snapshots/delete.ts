import type { Kysely, Transaction } from 'kysely';
import { moveSnapshot } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { forbidden } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { JobQueue } from '../platform/jobs.ts';
import { type AuthContext, actorOf } from '../tenancy/auth-context.ts';
import { findOwnSnapshot, isUuid, snapshotNotFound } from './find.ts';
import { assertNotRetained } from './set-retention.ts';

export interface DeleteDeps {
  db: Kysely<Database>;
  jobs: JobQueue;
}

/**
 * Takes the snapshot out of sight: its name is free and it cannot be read when this returns. A pull or a build that runs is cancelled.
 * The row and the layers go in the background; sandboxes that run from it keep theirs. Deleting it again is no error while
 * its row is still there. One that is retained is refused with the reason.
 */
export async function deleteSnapshot(deps: DeleteDeps, auth: AuthContext, idOrName: string): Promise<void> {
  const own = await findOwnSnapshot(deps.db, auth.organizationId, idOrName);
  if (own === undefined && (await isRemoving(deps.db, auth.organizationId, idOrName))) return;
  if (own === undefined) throw snapshotNotFound(idOrName);
  const { id, general } = own;
  if (general) throw forbidden('You cannot delete a general snapshot');
  await takeAway(deps, id, { actor: actorOf(auth) });
}

/** False when it was gone already, or (`isExpired`) is not to go any more. */
export async function takeAway(
  { db, jobs }: { db: DeleteDeps['db']; jobs: Pick<JobQueue, 'enqueue' | 'cancel'> },
  id: string,
  { actor, reason, isExpired = false }: { actor: string; reason?: string; isExpired?: boolean },
): Promise<boolean> {
  const isGone = await db.transaction().execute(async (trx) => {
    if (isExpired) {
      // Its time, or a lock, may have changed since it was looked for.
      if (!(await holdExpired(trx, id))) return false;
    } else {
      await assertNotRetained(trx, id);
    }
    const moved = await moveSnapshot(trx, id, {
      from: ['pending', 'pulling', 'building', 'snapshotting', 'active', 'inactive', 'error', 'build_failed'],
      to: 'removing',
      actor,
      ...(reason === undefined ? {} : { reason }),
    });
    // Somebody else deleted it in between: that is what was asked for.
    if (moved === undefined) return false;
    await jobs.enqueue(trx, 'snapshot.remove', id, { snapshotId: id });
    return true;
  });
  if (isGone) await failpoint('delete.row-written');
  if (isGone) await jobs.cancel('snapshot.pull', id);
  return isGone;
}

async function holdExpired(trx: Transaction<Database>, id: string): Promise<boolean> {
  const row = await trx
    .selectFrom('snapshots')
    .select('id')
    .where('id', '=', id)
    .where('expires_at', '<=', new Date())
    .where('retain', '=', false)
    .where('general', '=', false)
    .forNoKeyUpdate()
    .executeTakeFirst();
  return row !== undefined;
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
