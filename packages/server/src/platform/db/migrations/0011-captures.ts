import { type Kysely, sql } from 'kysely';

const statements = [
  sql`alter table snapshots
    add column parent_snapshot_id uuid,
    add column added_bytes int8`,
  sql`create index snapshots_by_source on snapshots (source_sandbox_id) where source_sandbox_id is not null`,
  sql`create index snapshots_by_parent on snapshots (parent_snapshot_id) where parent_snapshot_id is not null`,
  // None of them is a foreign key: children outlive their parents.
  sql`alter table sandboxes add column parent_id uuid`,
  sql`create index sandboxes_by_parent on sandboxes (parent_id) where parent_id is not null`,
];

/** Where snapshots that were captured, and sandboxes that were forked, come from. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
