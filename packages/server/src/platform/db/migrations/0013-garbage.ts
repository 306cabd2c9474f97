import { type Kysely, sql } from 'kysely';

const statements = [
  // What a machine has and nothing needs, since when: it is taken when that was long enough ago and still so.
  sql`create table garbage_marks (
    runner_id text not null,
    kind text not null,
    id text not null,
    reason text not null,
    marked_at timestamptz not null default now(),
    primary key (runner_id, kind, id)
  )`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
