import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';

// Those of inactive snapshots may go where activation can fetch them again: what was built or captured here stays, and what is retained.
// A failed one that has a size was complete once: a part of it is damaged, and the rest may be all that somebody has of it.
const needed = sql`
  select unnest(layers) as layer from snapshots
      where state not in ('inactive', 'removing', 'error', 'build_failed')
        or (state = 'inactive' and (build_id is not null or source_sandbox_id is not null or retain))
        or (state in ('error', 'build_failed') and size_bytes is not null)
  union all
  select unnest(layers) from sandboxes where state <> 'destroyed'`;

/** What the builds of a machine have kept. */
const cached = (runnerId: string) => sql`
  select layer from build_cache where layer is not null and runner_id = ${runnerId}
  union all
  select unnest(layers) from base_images where runner_id = ${runnerId}`;

/** Of these layers those that a snapshot or a sandbox needs. */
export function neededLayers(db: Kysely<Database>, layers: readonly string[]): Promise<ReadonlySet<string>> {
  return among(db, layers, needed);
}

/** Of these layers of a machine those, and what its build cache keeps. */
export function reachableLayers(
  db: Kysely<Database>,
  layers: readonly string[],
  runnerId: string,
): Promise<ReadonlySet<string>> {
  return among(db, layers, sql`${needed} union all ${cached(runnerId)}`);
}

/** The database compares, so that only what the machine has goes over the wire, however many snapshots there are. */
async function among(
  db: Kysely<Database>,
  layers: readonly string[],
  roots: RawBuilder<unknown>,
): Promise<ReadonlySet<string>> {
  if (layers.length === 0) return new Set();
  const { rows } = await sql<{ layer: string }>`
    select distinct root.layer from (${roots}) as root (layer)
    join (select distinct unnest(${[...layers]}::text[]) as layer) as asked on asked.layer = root.layer`.execute(db);
  return new Set(rows.map((row) => row.layer));
}
