import { type Kysely, sql } from 'kysely';
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
  /** Captured from sandboxes of it, the newest first; one page. */
  children: Relative[];
  childrenTotal: number;
  /** Made from it, or forked from those, the newest first; one page. */
  sandboxes: Relative[];
  sandboxesTotal: number;
}

/** From 1. */
export interface LineagePage {
  page: number;
  limit: number;
}

export async function snapshotLineage(
  db: Kysely<Database>,
  organizationId: string,
  idOrName: string,
  { page, limit }: LineagePage,
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
  const offset = (page - 1) * limit;
  const children = snapshots.where('parent_snapshot_id', '=', row.id);
  const users = sandboxes.where('snapshot_id', '=', row.id);
  const [parent, sourceSandbox, someChildren, childrenTotal, someUsers, sandboxesTotal] = await Promise.all([
    row.parent_snapshot_id === null ? undefined : snapshots.where('id', '=', row.parent_snapshot_id).executeTakeFirst(),
    row.source_sandbox_id === null ? undefined : sandboxes.where('id', '=', row.source_sandbox_id).executeTakeFirst(),
    children.orderBy('created_at', 'desc').orderBy('id').limit(limit).offset(offset).execute(),
    children.clearSelect().select(countAll).executeTakeFirst(),
    users.orderBy('created_at', 'desc').orderBy('id').limit(limit).offset(offset).execute(),
    users.clearSelect().select(countAll).executeTakeFirst(),
  ]);
  return {
    parent: parent ?? null,
    sourceSandbox: sourceSandbox ?? null,
    buildId: row.build_id,
    children: someChildren,
    childrenTotal: childrenTotal?.total ?? 0,
    sandboxes: someUsers,
    sandboxesTotal: sandboxesTotal?.total ?? 0,
  };
}

const countAll = sql<number>`count(*)::int4`.as('total');
