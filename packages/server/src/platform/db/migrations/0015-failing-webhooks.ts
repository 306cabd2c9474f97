import { type Kysely, sql } from 'kysely';

const statements = [
  // Since when every attempt has failed; and when and why it was switched off for that.
  sql`alter table webhook_endpoints add column failing_since timestamptz, add column disabled_at timestamptz,
    add column disabled_reason text`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
