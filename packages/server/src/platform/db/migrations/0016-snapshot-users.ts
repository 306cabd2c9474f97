import { type Kysely, sql } from 'kysely';

const statements = [
  // Who uses a snapshot now, in its lineage.
  sql`create index sandboxes_by_snapshot on sandboxes (snapshot_id)
    where snapshot_id is not null and state not in ('destroying', 'destroyed')`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
