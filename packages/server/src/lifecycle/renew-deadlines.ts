import { type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { SANDBOX, SNAPSHOT, type Subject } from './statements.ts';
import { SANDBOX_TABLE, SNAPSHOT_TABLE, type StateRule } from './tables.ts';

/**
 * After the clock jumped: whatever is on its way gets the whole time of its state again, from now on. So nothing is ended early and
 * nothing lasts for the length of the jump, and it does no harm when each of several servers does it.
 */
export async function renewDeadlines(db: Kysely<Database>): Promise<void> {
  await renew(db, SNAPSHOT, SNAPSHOT_TABLE);
  await renew(db, SANDBOX, SANDBOX_TABLE);
}

async function renew(
  db: Kysely<Database>,
  subject: Subject,
  rules: Readonly<Record<string, StateRule<string>>>,
): Promise<void> {
  const times = Object.entries(rules).flatMap(([state, rule]) =>
    rule.kind === 'moving' ? [sql`(${state}::text, ${rule.deadlineSeconds}::int)`] : [],
  );
  await sql`update ${sql.table(subject.table)} t
    set deadline_at = clock_timestamp() + make_interval(secs => times.seconds)
    from (values ${sql.join(times)}) as times (state, seconds)
    where t.state = times.state and t.deadline_at is not null`.execute(db);
}
