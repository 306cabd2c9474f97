import { type Kysely, sql } from 'kysely';

const statements = [
  // Ids of events are given out before their transactions commit, so that their order is not the one in which they can be seen. Whoever
  // reads on from a position goes by the transaction: all before the oldest that is still open are there for good.
  sql`alter table events
    add column txid int8 not null default (pg_current_xact_id()::text::int8),
    add column subject_name text`,
  sql`create index events_by_organization on events (organization_id, txid, id)`,
  sql`create index events_by_time on events using brin (at)`,
  sql`alter table snapshots
    add column retain boolean not null default false,
    add column retain_reason text,
    add column expires_at timestamptz`,
  sql`create index snapshots_by_expiry on snapshots (expires_at) where expires_at is not null and not retain`,
  sql`alter table organizations add column activates_on_use boolean not null default false`,
  sql`create table audit_logs (
    id uuid primary key default gen_random_uuid(),
    number int8 generated always as identity,
    organization_id uuid not null,
    actor_id uuid not null,
    key_id uuid,
    key_prefix text,
    key_suffix text,
    action text not null,
    target_type text,
    target_id text,
    status_code int not null,
    error_message text,
    ip_address text,
    user_agent text,
    source text,
    metadata jsonb,
    created_at timestamptz not null
  )`,
  sql`create index audit_logs_by_organization on audit_logs (organization_id, created_at desc, number desc)`,
  sql`create index audit_logs_by_time on audit_logs using brin (created_at)`,
  sql`create table webhook_endpoints (
    id uuid primary key default gen_random_uuid(),
    organization_id uuid not null references organizations on delete cascade,
    url text not null,
    description text not null default '',
    event_types text[],
    enabled boolean not null default true,
    secret bytea not null,
    previous_secret bytea,
    previous_secret_until timestamptz,
    cursor_txid int8 not null,
    cursor_id int8 not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
  )`,
  sql`create index webhook_endpoints_by_organization on webhook_endpoints (organization_id)`,
  sql`create table webhook_deliveries (
    id uuid primary key default gen_random_uuid(),
    number int8 generated always as identity,
    endpoint_id uuid not null references webhook_endpoints on delete cascade,
    event_type text not null,
    payload text not null,
    state text not null default 'pending',
    attempts int not null default 0,
    next_attempt_at timestamptz,
    last_status int,
    last_error text,
    last_attempt_at timestamptz,
    created_at timestamptz not null default now()
  )`,
  sql`create index webhook_deliveries_by_endpoint on webhook_deliveries (endpoint_id, number desc)`,
  sql`create index webhook_deliveries_due on webhook_deliveries (endpoint_id, next_attempt_at) where next_attempt_at is not null`,
  sql`create index webhook_deliveries_by_time on webhook_deliveries using brin (created_at)`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
