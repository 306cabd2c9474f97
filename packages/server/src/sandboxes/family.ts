import { sql } from 'kysely';
import { notFound } from '../platform/errors.ts';
import { findLiving, findSandbox } from './find.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

/** A chain is as long as somebody made it. */
const MAX_ANCESTORS = 1000;
const MAX_FORKS = 1000;

export interface ForksOptions {
  /** Also those that were deleted, as long as anything is known of them. */
  includeDestroyed?: boolean;
}

/** Forks of a sandbox that still exist, the newest first. */
export async function listForks(
  context: SandboxContext,
  caller: Caller,
  idOrName: string,
  { includeDestroyed = false }: ForksOptions = {},
): Promise<SandboxRow[]> {
  const { id } = await findSandbox(context.db, caller.organizationId, idOrName);
  const gone = includeDestroyed ? [] : (['destroying', 'destroyed'] as const);
  return context.db
    .selectFrom('sandboxes')
    .selectAll()
    .where('parent_id', '=', id)
    .where('organization_id', '=', caller.organizationId)
    .$if(gone.length > 0, (query) => query.where('state', 'not in', [...gone]))
    .orderBy('created_at', 'desc')
    .orderBy('id')
    .limit(MAX_FORKS)
    .execute();
}

/** The sandbox that it was forked from. Raises 404 where there is none, or none any more. */
export async function findParent(context: SandboxContext, caller: Caller, idOrName: string): Promise<SandboxRow> {
  const row = await findSandbox(context.db, caller.organizationId, idOrName);
  if (row.parent_id === null) throw notFound(`Sandbox ${row.id} was not forked from another`);
  return findLiving(context.db, caller.organizationId, row.parent_id);
}

/** Its parent, the parent's parent and so on; those that are gone are left out. */
export async function listAncestors(context: SandboxContext, caller: Caller, idOrName: string): Promise<SandboxRow[]> {
  const { parent_id: parent } = await findSandbox(context.db, caller.organizationId, idOrName);
  if (parent === null) return [];
  const { rows } = await sql<{ id: string }>`
    with recursive line as (
      select id, parent_id, 1 as distance from sandboxes where id = ${parent} and organization_id = ${caller.organizationId}
      union all
      select s.id, s.parent_id, line.distance + 1 from sandboxes s join line on s.id = line.parent_id
      where line.distance < ${MAX_ANCESTORS})
    select id from line order by distance`.execute(context.db);
  const ids = rows.map(({ id }) => id);
  const found = await context.db
    .selectFrom('sandboxes')
    .selectAll()
    .where('id', 'in', ids.length > 0 ? ids : [parent])
    .where('organization_id', '=', caller.organizationId)
    .where('state', 'not in', ['destroying', 'destroyed'])
    .execute();
  return found.sort((a, b) => ids.indexOf(a.id) - ids.indexOf(b.id));
}
