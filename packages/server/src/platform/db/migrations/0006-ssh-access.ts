import { type Kysely, sql } from 'kysely';

const statements = [
  // Logins to sandboxes by SSH. The token is found by its SHA-256: who reads the table can log in nowhere.
  sql`create table ssh_accesses (
    id uuid primary key default gen_random_uuid(),
    hash bytea not null unique,
    organization_id uuid not null,
    sandbox_id uuid not null references sandboxes(id) on delete cascade,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
  )`,
  sql`create index ssh_accesses_by_sandbox on ssh_accesses (sandbox_id)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
