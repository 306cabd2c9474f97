import { type Kysely, sql } from 'kysely';

const statements = [
  // Layers lie on one machine, so each runner has results of its own.
  sql`create table build_cache (
    organization_id uuid not null references organizations on delete cascade,
    runner_id text not null,
    key bytea not null,
    layer text,
    size_bytes int8 not null,
    parts jsonb not null,
    text_digest bytea not null,
    build_id text not null,
    boot_id text,
    created_at timestamptz not null default now(),
    last_used_at timestamptz not null default now(),
    primary key (organization_id, runner_id, key)
  ) with (fillfactor = 90)`,
  // None by last use: it is noted often, and looked for by a sweep now and then.
  sql`create index build_cache_by_text on build_cache (text_digest, organization_id, runner_id, created_at desc)`,
  sql`create index build_cache_by_layer on build_cache (layer) where layer is not null`,
  // As json, not jsonb, the config stays as it was to the letter, and so does what is hashed of it.
  sql`create table base_images (
    organization_id uuid not null references organizations on delete cascade,
    runner_id text not null,
    reference text not null,
    platform text not null,
    resolved text not null,
    layers text[] not null,
    config json not null,
    size_bytes int8 not null,
    resolved_at timestamptz not null default now(),
    last_used_at timestamptz not null default now(),
    primary key (organization_id, runner_id, reference, platform)
  )`,
];

/** What steps of builds gave before, and what the references that they build on meant. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
