import type { Kysely } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { getOwnSnapshot } from './find.ts';

interface Relative {
  id: string;
  name: string;
  state: string;
}

/** Where a snapshot comes from, and what comes from it. What is gone is left out. */
export interface Lineage {
  /** The one that its sandbox was made from. */
  parent: Relative | null;
  sourceSandbox: Relative | null;
  buildId: string | null;
  /** Captured from sandboxes of it, the newest first. */
  children: Relative[];
  /** Made from it, the newest first. */
  sandboxes: Relative[];
}

/** Of each kind; who wants more has lists. */
const MAX_RELATIVES = 200;

export async function snapshotLineage(
  db: Kysely<Database>,
  organizationId: string,
  idOrName: string,
): Promise<Lineage> {
  const row = await getOwnSnapshot(db, organizationId, idOrName);
  const snapshots = db
    .selectFrom('snapshots')
    .select(['id', 'name', 'state'])
    .where('organization_id', '=', organizationId)
    .where('state', '<>', 'removing');
  const sandboxes = db
    .selectFrom('sandboxes')
    .select(['id', 'name', 'state'])
    .where('organization_id', '=', organizationId)
    .where('state', 'not in', ['destroying', 'destroyed']);
  const [parent, sourceSandbox, children, users] = await Promise.all([
    row.parent_snapshot_id === null ? undefined : snapshots.where('id', '=', row.parent_snapshot_id).executeTakeFirst(),
    row.source_sandbox_id === null ? undefined : sandboxes.where('id', '=', row.source_sandbox_id).executeTakeFirst(),
    snapshots.where('parent_snapshot_id', '=', row.id).orderBy('created_at', 'desc').limit(MAX_RELATIVES).execute(),
    sandboxes.where('snapshot_id', '=', row.id).orderBy('created_at', 'desc').limit(MAX_RELATIVES).execute(),
  ]);
  return {
    parent: parent ?? null,
    sourceSandbox: sourceSandbox ?? null,
    buildId: row.build_id,
    children,
    sandboxes: users,
  };
}
