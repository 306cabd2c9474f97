import { type Kysely, sql } from 'kysely';

/** Both counters of a change are touched in the order of their key, so that two changes can never wait for each other. */
function countingTrigger(table: string, kind: string, generalColumn: string | undefined) {
  const general = (row: 'old' | 'new') => (generalColumn === undefined ? 'false' : `${row}.${generalColumn}`);
  const counted = (row: 'old' | 'new', by: 1 | -1) =>
    `perform count_state(${row}.organization_id, '${kind}', ${row}.state, ${general(row)}, ${by});`;
  return sql.raw(`create function count_${table}() returns trigger language plpgsql as $$
  begin
    if tg_op = 'INSERT' then ${counted('new', 1)}
    elsif tg_op = 'DELETE' then ${counted('old', -1)}
    elsif (old.state, ${general('old')}) < (new.state, ${general('new')}) then
      ${counted('old', -1)} ${counted('new', 1)}
    elsif (old.state, ${general('old')}) > (new.state, ${general('new')}) then
      ${counted('new', 1)} ${counted('old', -1)}
    end if;
    return null;
  end $$`);
}

const statements = [
  sql`create table organizations (
    id uuid primary key default gen_random_uuid(),
    name text not null,
    default_region text not null default 'local',
    suspended_at timestamptz,
    suspension_reason text,
    max_cpu_per_sandbox float8 not null,
    max_memory_per_sandbox float8 not null,
    max_disk_per_sandbox float8 not null,
    snapshot_quota int not null,
    max_snapshot_size_gb float8 not null,
    snapshot_deactivation_timeout_minutes int not null default 20160,
    total_cpu_quota float8 not null,
    total_memory_quota float8 not null,
    total_disk_quota float8 not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
  )`,
  sql`create table users (
    id uuid primary key default gen_random_uuid(),
    name text not null,
    created_at timestamptz not null default now()
  )`,
  sql`create table api_keys (
    id uuid primary key default gen_random_uuid(),
    organization_id uuid not null references organizations on delete cascade,
    user_id uuid not null references users on delete cascade,
    name text not null,
    hash bytea not null unique,
    prefix text not null,
    suffix text not null,
    permissions text[] not null,
    is_admin boolean not null default false,
    created_at timestamptz not null default now(),
    last_used_at timestamptz,
    expires_at timestamptz,
    unique (organization_id, user_id, name)
  )`,
  sql`create table registries (
    id uuid primary key default gen_random_uuid(),
    organization_id uuid not null references organizations on delete cascade,
    name text not null,
    url text not null,
    username text not null,
    password_encrypted bytea not null,
    project text not null default '',
    registry_type text not null default 'organization',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
  )`,
  sql`create index registries_by_organization on registries (organization_id)`,
  sql`create table instances (
    id uuid primary key,
    runner_id text not null,
    started_at timestamptz not null default now(),
    lease_expires_at timestamptz not null
  )`,
  sql`create table snapshots (
    id uuid primary key default gen_random_uuid(),
    organization_id uuid not null references organizations on delete cascade,
    name text not null,
    general boolean not null default false,
    state text not null,
    image_name text,
    ref text,
    entrypoint text[],
    cpu float8 not null,
    gpu float8 not null default 0,
    mem float8 not null,
    disk float8 not null,
    size_bytes int8,
    error_reason text,
    error_code text,
    region_id text not null,
    sandbox_class text not null default 'container',
    runner_id text,
    source_sandbox_id uuid,
    layers text[],
    image jsonb,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    last_used_at timestamptz,
    owner_id uuid,
    state_entered_at timestamptz not null default now(),
    deadline_at timestamptz,
    constraint snapshots_failed_has_reason check (state not in ('error', 'build_failed') or error_reason is not null),
    constraint snapshots_active_is_complete check (state <> 'active' or (layers is not null and image is not null and size_bytes is not null))
  )`,
  // A name is free the moment its snapshot is deleted: rows on their way out do not count.
  sql`create unique index snapshots_name on snapshots (organization_id, name) where state <> 'removing'`,
  sql`create index snapshots_by_last_used on snapshots (organization_id, last_used_at desc nulls last, created_at desc, id) where state <> 'removing'`,
  sql`create index snapshots_by_created on snapshots (organization_id, created_at desc, id) where state <> 'removing'`,
  sql`create index snapshots_by_state on snapshots (organization_id, state, created_at desc, id) where state <> 'removing'`,
  sql`create index snapshots_general on snapshots (name) where general and state <> 'removing'`,
  sql`create index snapshots_deadline on snapshots (deadline_at) where deadline_at is not null`,
  sql`create index snapshots_layers on snapshots using gin (layers)`,
  sql`create table sandboxes (
    id uuid primary key default gen_random_uuid(),
    organization_id uuid not null references organizations on delete cascade,
    name text not null,
    snapshot_id uuid,
    snapshot_name text not null,
    state text not null,
    desired_state text not null,
    error_reason text,
    error_code text,
    user_name text not null,
    env jsonb not null,
    labels jsonb not null,
    is_public boolean not null default false,
    region_id text not null,
    runner_id text,
    cpu float8 not null,
    gpu float8 not null default 0,
    memory float8 not null,
    disk float8 not null,
    auto_stop_interval int not null,
    auto_archive_interval int not null,
    auto_delete_interval int not null,
    network_block_all boolean not null default false,
    network_allow_list text,
    domain_allow_list text,
    layers text[] not null,
    image jsonb not null,
    entrypoint text[],
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    last_activity_at timestamptz not null default now(),
    stopped_at timestamptz,
    owner_id uuid,
    state_entered_at timestamptz not null default now(),
    deadline_at timestamptz,
    constraint sandboxes_failed_has_reason check (state <> 'error' or error_reason is not null)
  )`,
  sql`create unique index sandboxes_name on sandboxes (organization_id, name) where state not in ('destroying', 'destroyed')`,
  sql`create index sandboxes_by_created on sandboxes (organization_id, created_at desc, id)`,
  sql`create index sandboxes_by_labels on sandboxes using gin (labels jsonb_path_ops)`,
  sql`create index sandboxes_deadline on sandboxes (deadline_at) where deadline_at is not null`,
  sql`create index sandboxes_layers on sandboxes using gin (layers)`,
  sql`create table events (
    id bigint generated always as identity primary key,
    organization_id uuid not null,
    subject_type text not null,
    subject_id uuid not null,
    from_state text,
    to_state text not null,
    actor text not null,
    reason text,
    at timestamptz not null default now()
  )`,
  sql`create index events_by_subject on events (subject_id, id)`,
  // Which process runs the job of a name and key. The queue itself does not say who holds a job.
  sql`create table job_runs (
    name text not null,
    key text not null,
    job_id uuid not null,
    instance_id uuid not null,
    primary key (name, key)
  )`,
  sql`create table state_counts (
    organization_id uuid not null,
    subject_type text not null,
    state text not null,
    general boolean not null,
    count int8 not null,
    primary key (organization_id, subject_type, state, general)
  ) with (fillfactor = 50)`,
  sql`create function count_state(org uuid, kind text, s text, g boolean, n int) returns void language sql as $$
    insert into state_counts as c (organization_id, subject_type, state, general, count) values (org, kind, s, g, n)
    on conflict (organization_id, subject_type, state, general) do update set count = c.count + excluded.count
  $$`,
  countingTrigger('snapshots', 'snapshot', 'general'),
  sql`create trigger snapshots_counted after insert or update of state, general or delete on snapshots
    for each row execute function count_snapshots()`,
  countingTrigger('sandboxes', 'sandbox', undefined),
  sql`create trigger sandboxes_counted after insert or update of state or delete on sandboxes
    for each row execute function count_sandboxes()`,
];

/** The first schema. Forward only: a later change is a new file. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
