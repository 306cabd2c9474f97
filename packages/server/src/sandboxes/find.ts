import type { Kysely } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { conflict, invalidRequest, notFound } from '../platform/errors.ts';
import { isUuid } from '../snapshots/find.ts';
import type { SandboxRow } from './types.ts';

export const sandboxNotFound = (idOrName: string) => notFound(`Sandbox with ID or name ${idOrName} not found`);
export const changeInProgress = () => conflict('Sandbox state change in progress', { retryable: true });

/** By id, also one that is on its way out; by name only those that still own it. Raises `not_found`. */
export async function findSandbox(db: Kysely<Database>, organizationId: string, idOrName: string): Promise<SandboxRow> {
  if (idOrName.includes('\0')) throw sandboxNotFound(JSON.stringify(idOrName));
  const own = db.selectFrom('sandboxes').selectAll().where('organization_id', '=', organizationId);
  // An id is asked for first: it is what clients send, and a name that looks like another sandbox's id must not shadow it.
  if (isUuid(idOrName)) {
    const row = await own.where('id', '=', idOrName).where('state', '<>', 'destroyed').executeTakeFirst();
    if (row !== undefined) return row;
  }
  const row = await own
    .where('name', '=', idOrName)
    .where('state', 'not in', ['destroying', 'destroyed'])
    .executeTakeFirst();
  if (row === undefined) throw sandboxNotFound(idOrName);
  return row;
}

/** As it is now, whoever's it is; undefined when it is no more. */
export const readRow = (db: Kysely<Database>, id: string): Promise<SandboxRow | undefined> =>
  db.selectFrom('sandboxes').selectAll().where('id', '=', id).executeTakeFirst();

/** For changes: what is being destroyed does not exist any more. */
export async function findLiving(db: Kysely<Database>, organizationId: string, idOrName: string): Promise<SandboxRow> {
  const row = await findSandbox(db, organizationId, idOrName);
  if (row.state === 'destroying') throw sandboxNotFound(idOrName);
  return row;
}

/** For calls into a sandbox. Raises `invalid_request` with the state when it does not run. */
export async function findRunning(db: Kysely<Database>, organizationId: string, idOrName: string): Promise<SandboxRow> {
  const row = await findLiving(db, organizationId, idOrName);
  if (row.state === 'started') return row;
  throw notRunning(row.state);
}

export function notRunning(state: SandboxRow['state']) {
  return invalidRequest(`Sandbox is not running: its state is ${state}`, {
    ...(state === 'stopped' || state === 'paused' ? { hint: 'Start it first.' } : {}),
    retryable: ['pending_build', 'building_snapshot', 'creating', 'starting'].includes(state),
  });
}
