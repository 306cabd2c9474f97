import { type Kysely, sql } from 'kysely';
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

/**
 * Of these layers of a machine those that neither they nor its build cache need, as the database is at one moment. It compares, so that only what is
 * not needed comes over the wire, however many snapshots and layers there are. Reads alone: a transaction that writes would hold up the events of
 * others for as long.
 */
export async function unreachableLayers(
  db: Kysely<Database>,
  layers: readonly string[],
  runnerId: string,
): Promise<string[]> {
  if (layers.length === 0) return [];
  // One text: an array of so many would be escaped one by one, and stop the process meanwhile.
  const { rows } = await sql<{ layer: string }>`
    select layer from unnest(string_to_array(${layers.join(',')}::text, ',')) as stored (layer)
    where not exists (select from (${needed} union all ${cached(runnerId)}) as root (layer)
      where root.layer = stored.layer)`.execute(db);
  return rows.map(({ layer }) => layer);
}

/** Of these layers those that a snapshot or a sandbox needs. */
export async function neededLayers(db: Kysely<Database>, layers: readonly string[]): Promise<ReadonlySet<string>> {
  if (layers.length === 0) return new Set();
  const { rows } = await sql<{ layer: string }>`
    select distinct root.layer from (${needed}) as root (layer)
    join (select distinct unnest(${[...layers]}::text[]) as layer) as asked on asked.layer = root.layer`.execute(db);
  return new Set(rows.map((row) => row.layer));
}
