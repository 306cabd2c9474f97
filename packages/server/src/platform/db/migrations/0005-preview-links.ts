import { type Kysely, sql } from 'kysely';

const statements = [
  // Signed links to ports of sandboxes, by the SHA-256 of their tokens: who reads the table can open none.
  sql`create table preview_links (
    hash bytea primary key,
    sandbox_id uuid not null references sandboxes(id) on delete cascade,
    port int not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
  )`,
  sql`create index preview_links_by_sandbox on preview_links (sandbox_id)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
