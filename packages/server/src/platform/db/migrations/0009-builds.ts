import { type Kysely, sql } from 'kysely';

/**
 * A build ends when what it is for leaves the states of building, whoever moved it (a deadline, a delete): then at the latest it
 * has an outcome, and its secrets are gone. What the code knows better it has written before, in the same transaction.
 */
const endBuild = (to: { succeeded: string; cancelled: string }) => `
  update builds set
    outcome = coalesce(outcome, case
      when new.state in (${to.succeeded}) then 'succeeded'
      when new.state in (${to.cancelled}) then 'cancelled'
      else 'failed' end),
    finished_at = coalesce(finished_at, clock_timestamp()),
    updated_at = clock_timestamp(),
    secrets = null
  where id = new.build_id and (outcome is null or secrets is not null);
  return null;`;

const statements = [
  sql`create table builds (
    id uuid primary key default gen_random_uuid(),
    organization_id uuid not null references organizations on delete cascade,
    snapshot_id uuid references snapshots on delete cascade,
    sandbox_id uuid references sandboxes on delete cascade,
    dockerfile text not null,
    context_hashes text[] not null,
    snapshot_ref text not null,
    options jsonb not null,
    secrets bytea,
    outcome text check (outcome in ('succeeded', 'failed', 'cancelled')),
    failure jsonb,
    starts int not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    constraint builds_have_one_subject check (num_nonnulls(snapshot_id, sandbox_id) = 1),
    constraint builds_ended check ((outcome is null) = (finished_at is null)),
    constraint builds_keep_no_secrets check (outcome is null or secrets is null)
  )`,
  sql`create index builds_by_snapshot on builds (snapshot_id) where snapshot_id is not null`,
  sql`create index builds_by_sandbox on builds (sandbox_id) where sandbox_id is not null`,
  sql`create index builds_going on builds (id) where outcome is null`,
  sql`create table build_steps (
    build_id uuid not null references builds on delete cascade,
    number int not null,
    stage text not null,
    line int not null,
    text text not null,
    state text not null check (state in ('waiting', 'running', 'done', 'cached', 'failed', 'skipped')),
    cache text check (cache in ('hit', 'miss', 'shared', 'none')),
    cache_why text,
    bytes int8,
    exit_code int,
    started_at timestamptz,
    finished_at timestamptz,
    primary key (build_id, number)
  )`,
  sql`alter table snapshots add column build_id uuid`,
  sql`alter table sandboxes add column build_id uuid`,
  sql.raw(`create function end_build_of_snapshot() returns trigger language plpgsql as $$
  begin ${endBuild({ succeeded: `'active'`, cancelled: `'removing'` })} end $$`),
  sql`create trigger snapshots_build_ended after update of state on snapshots for each row
    when (old.state = 'building' and new.state <> 'building') execute function end_build_of_snapshot()`,
  sql.raw(`create function end_build_of_sandbox() returns trigger language plpgsql as $$
  begin ${endBuild({ succeeded: `'creating'`, cancelled: `'destroying', 'destroyed'` })} end $$`),
  sql`create trigger sandboxes_build_ended after update of state on sandboxes for each row
    when (old.state in ('pending_build', 'building_snapshot') and new.state not in ('pending_build', 'building_snapshot'))
    execute function end_build_of_sandbox()`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
