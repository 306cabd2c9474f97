import type { Kysely } from 'kysely';
import { moveSnapshot } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { invalidRequest } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { type AuthContext, actorOf } from '../tenancy/auth-context.ts';
import { getOwnSnapshot } from './find.ts';

/** No new sandboxes from it, and its place in the quota is free. The layers stay until their space is wanted. */
export async function deactivateSnapshot(db: Kysely<Database>, auth: AuthContext, idOrName: string): Promise<void> {
  const { id } = await getOwnSnapshot(db, auth.organizationId, idOrName);
  const moved = await moveSnapshot(db, id, { from: ['active'], to: 'inactive', actor: actorOf(auth) });
  if (moved !== undefined) return await failpoint('deactivate.written');
  const { state } = await getOwnSnapshot(db, auth.organizationId, id);
  if (state !== 'inactive') {
    throw invalidRequest(`Snapshot ${id} cannot be deactivated - it is in ${state} state`);
  }
}
