import { type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';

/** diffIDs that a snapshot or a sandbox needs. Those of inactive snapshots may go: activation fetches them again. */
export async function reachableLayers(db: Kysely<Database>): Promise<ReadonlySet<string>> {
  const { rows } = await sql<{ layer: string }>`
    select distinct unnest(layers) as layer from snapshots where state not in ('inactive', 'removing', 'error', 'build_failed')
    union
    select unnest(layers) from sandboxes where state <> 'destroyed'`.execute(db);
  return new Set(rows.map((row) => row.layer));
}
