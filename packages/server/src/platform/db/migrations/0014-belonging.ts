import { type QueryExecutorProvider, sql } from 'kysely';

const statements = [
  // Which database this is, wherever it is restored. One from before has the id of its first organization, so that older dumps of it have the same.
  sql`create table database_identity (
    only_row boolean primary key default true check (only_row),
    id uuid not null default gen_random_uuid()
  )`,
  sql`insert into database_identity (id) values (
    coalesce((select id from organizations order by created_at, id limit 1), gen_random_uuid()))`,
  // Snapshots did not say on which machine their layers are. Where there has only ever been one, it is that.
  sql`update snapshots set runner_id = only_one.runner_id
    from (
      select min(runner_id) as runner_id from (
        select runner_id from sandboxes union select runner_id from instances union select runner_id from build_cache
        union select runner_id from base_images union select runner_id from garbage_marks
      ) as machines where runner_id is not null
      having count(distinct runner_id) = 1
    ) as only_one
    where snapshots.runner_id is null and snapshots.layers is not null`,
];

export async function up(db: QueryExecutorProvider): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
