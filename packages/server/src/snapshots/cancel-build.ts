import type { Kysely } from 'kysely';
import { endBuild } from '../builds/records.ts';
import { moveSnapshot, type SnapshotRow } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { conflict } from '../platform/errors.ts';
import { type AuthContext, actorOf } from '../tenancy/auth-context.ts';
import { getOwnSnapshot } from './find.ts';

/** Ends the build of a snapshot, which is an `error` from then on; whoever works on it hears of it and stops. Raises `conflict` when nothing is built. */
export async function cancelBuild(db: Kysely<Database>, auth: AuthContext, idOrName: string): Promise<SnapshotRow> {
  const { id, name, state, build_id: buildId } = await getOwnSnapshot(db, auth.organizationId, idOrName);
  if (state !== 'building' || buildId === null) throw notBuilding(name, state);
  const key = await db.selectFrom('api_keys').select('name').where('id', '=', auth.keyId).executeTakeFirst();
  const moved = await db.transaction().execute(async (trx) => {
    await endBuild(trx, buildId, { outcome: 'cancelled' });
    return moveSnapshot(trx, id, {
      from: ['building'],
      to: 'error',
      actor: actorOf(auth),
      reason: `The build was cancelled by the key ${JSON.stringify(key?.name ?? auth.keyId)}.`,
      errorCode: 'conflict',
    });
  });
  if (moved === undefined) throw notBuilding(name, (await getOwnSnapshot(db, auth.organizationId, id)).state);
  return moved;
}

const notBuilding = (name: string, state: string) =>
  conflict(`Snapshot ${name} is not being built: its state is ${state}`);
