import { type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';

/**
 * After the clock jumped by `ms`: minutes that nobody lived through do not count as minutes without use, so nothing is stopped or
 * deleted for them. Never later than now: a jump back must not make a sandbox stay for its length.
 */
export async function keepIdleTimes(db: Kysely<Database>, runnerId: string, ms: number): Promise<void> {
  const by = sql`make_interval(secs => ${Math.max(0, ms) / 1000})`;
  await sql`update sandboxes set last_activity_at = least(last_activity_at + ${by}, clock_timestamp()),
      stopped_at = least(stopped_at + ${by}, clock_timestamp())
    where runner_id = ${runnerId} and state <> 'destroyed'`.execute(db);
}
