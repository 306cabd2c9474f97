import { type Kysely, sql } from 'kysely';
import type { SnapshotRow } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { notFound } from '../platform/errors.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isUuid(text: string): boolean {
  return UUID.test(text);
}

/**
 * Which snapshot a name or an id means to an organization: `$1` is the organization, `$2` the name, `$3` the id or null.
 * Own id, own name, general name, general id, in this order: no name can take the place of what an id means. Separate branches, so that each is one look into an index
 * however many snapshots there are. One on its way out is gone for everyone.
 */
export const VISIBLE_SNAPSHOT_SQL = `
  select s.*, 2 as rank from snapshots s where organization_id = $1 and name = $2 and state <> 'removing'
  union all
  select s.*, case when organization_id = $1 then 1 else 4 end from snapshots s
    where id = $3::uuid and (organization_id = $1 or general) and state <> 'removing'
  union all
  (select s.*, 3 from snapshots s where general and name = $2 and state <> 'removing' order by created_at limit 1)
  order by rank limit 1`;

export function visibleSnapshotValues(organizationId: string, idOrName: string): unknown[] {
  return [organizationId, idOrName, isUuid(idOrName) ? idOrName : null];
}

/** A snapshot that the organization may change: its own, by name or id. Of another's it learns nothing. */
export async function getOwnSnapshot(
  db: Kysely<Database>,
  organizationId: string,
  idOrName: string,
): Promise<SnapshotRow> {
  const row = await findOwnSnapshot(db, organizationId, idOrName);
  if (row === undefined) throw snapshotNotFound(idOrName);
  return row;
}

export const snapshotNotFound = (idOrName: string) => notFound(`Snapshot with ID or name ${idOrName} not found`);

export async function findOwnSnapshot(
  db: Kysely<Database>,
  organizationId: string,
  idOrName: string,
): Promise<SnapshotRow | undefined> {
  // PostgreSQL has no text with NUL in it.
  if (idOrName.includes('\0')) return undefined;
  return db
    .selectFrom('snapshots')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('state', '<>', 'removing')
    .where((where) =>
      isUuid(idOrName)
        ? where.or([where('name', '=', idOrName), where('id', '=', idOrName)])
        : where('name', '=', idOrName),
    )
    .orderBy(sql`id::text = lower(${idOrName})`, 'desc')
    .limit(1)
    .executeTakeFirst();
}
