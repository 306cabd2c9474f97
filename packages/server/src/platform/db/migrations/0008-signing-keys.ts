import { type Kysely, sql } from 'kysely';

const statements = [
  // The key itself is derived; a new version makes every link signed before worthless.
  sql`alter table sandboxes add column signing_key_version integer not null default 0`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
