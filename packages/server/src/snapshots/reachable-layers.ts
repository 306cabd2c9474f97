import { type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';

// Those of inactive snapshots may go where activation can fetch them again: what was built or captured here stays, and what is retained.
const needed = sql`
  select unnest(layers) as layer from snapshots
      where state not in ('inactive', 'removing', 'error', 'build_failed') or (state = 'inactive' and (build_id is not null or source_sandbox_id is not null or retain))
  union
  select unnest(layers) from sandboxes where state <> 'destroyed'`;

/** Ids of layers that a snapshot or a sandbox needs. */
export async function neededLayers(db: Kysely<Database>): Promise<ReadonlySet<string>> {
  const { rows } = await sql<{ layer: string }>`${needed}`.execute(db);
  return new Set(rows.map((row) => row.layer));
}

/** Those, and what the build cache keeps. */
export async function reachableLayers(db: Kysely<Database>): Promise<ReadonlySet<string>> {
  const { rows } = await sql<{ layer: string }>`${needed}
    union
    select layer from build_cache where layer is not null
    union
    select unnest(layers) from base_images`.execute(db);
  return new Set(rows.map((row) => row.layer));
}
