import { sql } from 'kysely';
import { isUuid } from '../snapshots/find.ts';
import { parseLabelFilter } from './labels.ts';
import { decodeCursor, encodeCursor } from './list-cursor.ts';
import { CLASS_SQL } from './sandbox-class.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

const DEFAULT_LIMIT = 100;

/** What lists can be ordered by, and the type that a cursor's key is read as. */
const SORT_COLUMNS = {
  name: { column: 'name', type: 'text' },
  cpu: { column: 'cpu', type: 'float8' },
  memory: { column: 'memory', type: 'float8' },
  disk: { column: 'disk', type: 'float8' },
  lastActivityAt: { column: 'last_activity_at', type: 'timestamptz' },
  createdAt: { column: 'created_at', type: 'timestamptz' },
} as const;
export type SandboxSort = keyof typeof SORT_COLUMNS;

interface Range<T> {
  min?: T | undefined;
  max?: T | undefined;
}

export interface ListRequest {
  cursor?: string | undefined;
  limit?: number | undefined;
  /** Beginnings, in any case. */
  idPrefix?: string | undefined;
  namePrefix?: string | undefined;
  /** A JSON object as text. */
  labels?: string | undefined;
  states?: readonly string[] | undefined;
  /** Names or ids. */
  snapshots?: readonly string[] | undefined;
  regions?: readonly string[] | undefined;
  classes?: readonly string[] | undefined;
  cpu: Range<number>;
  memory: Range<number>;
  disk: Range<number>;
  createdAt: Range<Date>;
  lastActivityAt: Range<Date>;
  isPublic?: boolean | undefined;
  isRecoverable?: boolean | undefined;
  sort?: SandboxSort | undefined;
  order?: 'asc' | 'desc' | undefined;
}

export interface SandboxPage {
  rows: SandboxRow[];
  nextCursor: string | null;
}

/** One page. A cursor stands behind (sort key, id), so that rows which come and go between pages shift nothing. */
export async function listSandboxes(
  context: Pick<SandboxContext, 'db'>,
  caller: Caller,
  request: ListRequest,
): Promise<SandboxPage> {
  const sort = request.sort ?? 'createdAt';
  const order = request.order ?? (sort === 'name' ? 'asc' : 'desc');
  const limit = request.limit ?? DEFAULT_LIMIT;
  const { column, type } = SORT_COLUMNS[sort];
  const key = sql.ref(column);
  let query = filtered(context, caller, request).select(sql<string>`${key}::text`.as('cursor_key'));
  if (request.cursor !== undefined && request.cursor !== '') {
    const after = decodeCursor(request.cursor, { sort, order, type });
    const beyond = order === 'asc' ? sql`>` : sql`<`;
    query = query.where(sql<boolean>`(${key}, id) ${beyond} (${after.key}::${sql.raw(type)}, ${after.id}::uuid)`);
  }
  const found = await query
    .orderBy(column, order)
    .orderBy('id', order)
    .limit(limit + 1)
    .execute();
  const rows = found.slice(0, limit);
  const last = rows.at(-1);
  const more = found.length > limit && last !== undefined;
  return { rows, nextCursor: more ? encodeCursor({ sort, order, key: last.cursor_key, id: last.id }) : null };
}

function filtered(context: Pick<SandboxContext, 'db'>, caller: Caller, request: ListRequest) {
  let query = context.db
    .selectFrom('sandboxes')
    .selectAll()
    .where('organization_id', '=', caller.organizationId)
    .where('state', 'not in', ['destroying', 'destroyed']);
  const { idPrefix, namePrefix, labels, states, snapshots, regions, isPublic, isRecoverable } = request;
  if (idPrefix) query = query.where(sql<boolean>`starts_with(id::text, lower(${idPrefix}))`);
  if (namePrefix) query = query.where(sql<boolean>`starts_with(lower(name), lower(${namePrefix}))`);
  if (labels) query = query.where(sql<boolean>`labels @> ${JSON.stringify(parseLabelFilter(labels))}::jsonb`);
  if (states) query = query.where(sql<boolean>`state = any(${[...states]}::text[])`);
  if (snapshots) {
    const ids = snapshots.filter(isUuid);
    query = query.where(
      sql<boolean>`(snapshot_name = any(${[...snapshots]}::text[]) or snapshot_id = any(${ids}::uuid[]))`,
    );
  }
  if (regions) query = query.where(sql<boolean>`region_id = any(${[...regions]}::text[])`);
  if (request.classes) query = query.where(sql<boolean>`${CLASS_SQL} = any(${[...request.classes]}::text[])`);
  if (isPublic !== undefined) query = query.where('is_public', '=', isPublic);
  if (isRecoverable !== undefined) query = query.where('state', isRecoverable ? '=' : '<>', 'error');
  const ranges = [
    ['cpu', request.cpu],
    ['memory', request.memory],
    ['disk', request.disk],
    ['created_at', request.createdAt],
    ['last_activity_at', request.lastActivityAt],
  ] as const;
  for (const [column, { min, max }] of ranges) {
    if (min !== undefined) query = query.where(sql<boolean>`${sql.ref(column)} >= ${min}`);
    if (max !== undefined) query = query.where(sql<boolean>`${sql.ref(column)} <= ${max}`);
  }
  return query;
}
