import { type Kysely, type RawBuilder, type Selectable, sql } from 'kysely';
import type { AuditLogTable, Database } from '../platform/db/schema.ts';
import { invalidRequest } from '../platform/errors.ts';

export type AuditRow = Selectable<AuditLogTable> & { actor_name: string | null };

const COLUMNS = {
  id: 'id::text',
  actorId: 'actor_id::text',
  actorApiKeyPrefix: 'key_prefix',
  actorApiKeySuffix: 'key_suffix',
  action: 'action',
  targetType: 'target_type',
  targetId: 'target_id',
  statusCode: 'status_code::text',
} as const;
export type AuditField = keyof typeof COLUMNS;
export const AUDIT_FIELDS = Object.keys(COLUMNS) as AuditField[];

export interface AuditQuery {
  organizationId: string;
  page: number;
  limit: number;
  /** Wins over the page. */
  nextToken: string | undefined;
  from: Date | undefined;
  to: Date | undefined;
  filters: readonly { field: AuditField; negated: boolean; values: readonly string[] }[];
}

export interface AuditPage {
  rows: AuditRow[];
  total: number;
  nextToken: string | undefined;
}

/** Newest first. */
export async function readAudit(db: Kysely<Database>, query: AuditQuery): Promise<AuditPage> {
  const place = query.nextToken === undefined ? undefined : placeOf(query.nextToken);
  const conditions = conditionsOf(query);
  const behind = place === undefined ? [] : [sql`(a.created_at, a.number) < (${place.at}, ${place.number})`];
  const offset = place === undefined ? (query.page - 1) * query.limit : 0;
  const [page, counted] = await Promise.all([
    sql<AuditRow>`select a.*, u.name as actor_name from audit_logs a left join users u on u.id = a.actor_id
      where ${sql.join([...conditions, ...behind], sql` and `)}
      order by a.created_at desc, a.number desc limit ${query.limit + 1} offset ${offset}`.execute(db),
    sql<{ count: number }>`select count(*) from audit_logs a where ${sql.join(conditions, sql` and `)}`.execute(db),
  ]);
  const rows = page.rows.slice(0, query.limit);
  const last = rows.at(-1);
  const hasMore = page.rows.length > rows.length && last !== undefined;
  return { rows, total: counted.rows[0]?.count ?? 0, nextToken: hasMore ? tokenOf(last) : undefined };
}

function conditionsOf({ organizationId, from, to, filters }: AuditQuery): RawBuilder<unknown>[] {
  return [
    sql`a.organization_id = ${organizationId}`,
    ...(from === undefined ? [] : [sql`a.created_at >= ${from}`]),
    ...(to === undefined ? [] : [sql`a.created_at <= ${to}`]),
    ...filters.map(({ field, negated, values }) => {
      const isOne = sql`coalesce(a.${sql.raw(COLUMNS[field])}, '') = any(${[...values]}::text[])`;
      return negated ? sql`not ${isOne}` : isOne;
    }),
  ];
}

const tokenOf = (row: AuditRow) =>
  Buffer.from(`${row.created_at.getTime()}.${row.number}`, 'latin1').toString('base64url');

function placeOf(token: string): { at: Date; number: number } {
  const match = /^(\d{1,15})\.(\d{1,15})$/.exec(Buffer.from(token, 'base64url').toString('latin1'));
  if (match === null) throw invalidRequest('nextToken is not one that this server gave out');
  return { at: new Date(Number(match[1])), number: Number(match[2]) };
}
