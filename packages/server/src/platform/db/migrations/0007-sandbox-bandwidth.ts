import { type Kysely, sql } from 'kysely';

const statements = [
  // Megabits a second; 0 is without a limit, null is the server's default.
  sql`alter table sandboxes add column bandwidth_in_mbps double precision, add column bandwidth_out_mbps double precision`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
