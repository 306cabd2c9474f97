import { type Kysely, sql } from 'kysely';

const statements = [
  // What a server looks for at its start, and whenever a sandbox is due to stop or to go.
  sql`create index sandboxes_by_runner on sandboxes (runner_id, state) where state <> 'destroyed'`,
  sql`create index sandboxes_destroyed on sandboxes (state_entered_at) where state = 'destroyed'`,
];

export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements) await statement.execute(db);
}
