import type { ReadStatement } from '../platform/db/reader.ts';
import type { SnapshotQuery, SnapshotSort } from './types.ts';

/** Nulls come last both ways, then the newest; every one of them is the order of an index, read forwards or backwards. */
const ORDERS: Readonly<Record<SnapshotSort, Readonly<Record<'asc' | 'desc', string>>>> = {
  name: { asc: 'name asc', desc: 'name desc' },
  state: { asc: 'state asc, created_at desc, id', desc: 'state desc, created_at desc, id' },
  lastUsedAt: {
    asc: 'last_used_at asc nulls last, created_at desc, id',
    desc: 'last_used_at desc nulls last, created_at desc, id',
  },
  createdAt: { asc: 'created_at asc, id desc', desc: 'created_at desc, id' },
};

const COUNTED = `
  select coalesce(sum(count) filter (where organization_id = $1), 0) as own,
         coalesce(sum(count) filter (where organization_id <> $1), 0) as others
  from state_counts
  where subject_type = 'snapshot' and state <> 'removing' and (organization_id = $1 or general)`;

/**
 * One page: the version, the total, and own snapshots, then general ones of others; all of one moment.
 * `$1` is the organization, `$2` the limit, `$3` the offset, then the filters. The ids are found by reading an index alone,
 * so that a page far behind costs little more than the first, and only the rows of the page are fetched.
 */
export function pageStatement(query: SnapshotQuery, render: string, version: string): ReadStatement {
  const filters = filtersOf(query);
  const order = ORDERS[query.sort][query.order];
  const where = filters.map(({ sql }, index) => ` and ${sql(`$${index + 4}`)}`).join('');
  const own = `from snapshots where organization_id = $1 and state <> 'removing'${where}`;
  const others = `from snapshots where general and organization_id <> $1 and state <> 'removing'${where}`;
  const totals =
    filters.length === 0 ? COUNTED : `select (select count(*) ${own}) as own, (select count(*) ${others}) as others`;
  const text = `
    with totals as materialized (${totals}),
    own as materialized (select id ${own} order by ${order} limit $2 offset $3),
    others as materialized (
      select id ${others} order by ${order}
      limit (select $2 - count(*) from own) offset (select greatest(0, $3 - own) from totals))
    select
      ${version},
      (select own + others from totals),
      '[' || coalesce((
        select string_agg(${render}, ',' order by page.n)
        from unnest(array(select id from own) || array(select id from others)) with ordinality as page (id, n)
        join snapshots s on s.id = page.id), '') || ']'`;
  // A plan for filters must see their values.
  return filters.length === 0 ? { name: `snapshot-page-${query.sort}-${query.order}`, text } : { text };
}

export function pageValues(organizationId: string, query: SnapshotQuery): unknown[] {
  const offset = (query.page - 1) * query.limit;
  return [organizationId, query.limit, offset, ...filtersOf(query).map(({ value }) => value)];
}

interface Filter {
  sql: (parameter: string) => string;
  value: string;
}

function filtersOf(query: SnapshotQuery): Filter[] {
  const filters: Filter[] = [];
  if (query.name !== undefined && query.name !== '') {
    // A part of the name is meant as it stands: `%` and `_` are ordinary characters of it.
    const pattern = `%${query.name.replace(/[\\%_]/g, '\\$&')}%`;
    filters.push({ sql: (parameter) => `name ilike ${parameter}`, value: pattern });
  }
  if (query.sourceSandboxId !== undefined) {
    filters.push({ sql: (parameter) => `source_sandbox_id::text = ${parameter}`, value: query.sourceSandboxId });
  }
  return filters;
}
