import { type Kysely, sql } from 'kysely';

const NIL = '00000000-0000-0000-0000-000000000000';

const statements = [
  // A number for what an organization sees of snapshots: while it stays, a list that was made before is still true. What all
  // organizations see (general snapshots) has the nil row. Rows are touched in order, so that no two changes wait for each other.
  sql`create table snapshot_versions (organization_id uuid primary key, version int8 not null) with (fillfactor = 50)`,
  sql`create function bump_snapshot_versions() returns trigger language plpgsql as $$
  begin
    insert into snapshot_versions as v (organization_id, version)
    select id, 1 from (
      select organization_id as id from changed union select '${sql.raw(NIL)}'::uuid from changed where general
    ) touched order by id
    on conflict (organization_id) do update set version = v.version + 1;
    return null;
  end $$`,
  sql`create function bump_updated_snapshot_versions() returns trigger language plpgsql as $$
  begin
    insert into snapshot_versions as v (organization_id, version)
    select id, 1 from (
      select organization_id as id from changed
      union select '${sql.raw(NIL)}'::uuid from changed where general
      union select '${sql.raw(NIL)}'::uuid from before_change where general
    ) touched order by id
    on conflict (organization_id) do update set version = v.version + 1;
    return null;
  end $$`,
  sql`create trigger snapshots_version_insert after insert on snapshots
    referencing new table as changed for each statement execute function bump_snapshot_versions()`,
  sql`create trigger snapshots_version_delete after delete on snapshots
    referencing old table as changed for each statement execute function bump_snapshot_versions()`,
  sql`create trigger snapshots_version_update after update on snapshots
    referencing old table as before_change new table as changed
    for each statement execute function bump_updated_snapshot_versions()`,
  // Orders of lists that no index gives by being read backwards.
  sql`create index snapshots_by_last_used_asc on snapshots (organization_id, last_used_at asc nulls last, created_at desc, id) where state <> 'removing'`,
  sql`create index snapshots_by_state_desc on snapshots (organization_id, state desc, created_at desc, id) where state <> 'removing'`,
  sql`create index state_counts_general on state_counts (subject_type) where general`,
  // Searching names is fast where this extension of PostgreSQL is installed, and works without it.
  sql`do $$
  begin
    create extension if not exists pg_trgm;
    execute 'create index snapshots_name_trigrams on snapshots using gin (name gin_trgm_ops) where state <> ''removing''';
  exception when insufficient_privilege or feature_not_supported or undefined_file or undefined_object then
    raise notice 'pg_trgm is not available: searching snapshots by name reads all of them';
  end $$`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
