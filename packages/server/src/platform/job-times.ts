import { type Kysely, sql } from 'kysely';
import type { Database } from './db/schema.ts';

/**
 * After the clock jumped: jobs that run have not run for longer for it, those that were never tried wait no longer, those that wait
 * for their next attempt no longer than after that many of them, and the library's own times lie in the past. Harmless when it is done twice.
 */
export async function settleJobTimes(db: Kysely<Database>, longestWaitMs: number): Promise<void> {
  const latest = sql`clock_timestamp() + make_interval(secs => case state when 'created' then 0
    else least(${longestWaitMs / 1000}, 2 ^ least(retry_count, 20)) end)`;
  await db.transaction().execute(async (trx) => {
    await sql`update pgboss.job set started_on = clock_timestamp(), heartbeat_on = clock_timestamp()
      where state = 'active'`.execute(trx);
    await sql`update pgboss.job set start_after = ${latest}
      where state in ('created', 'retry') and start_after > ${latest}`.execute(trx);
    await sql`update pgboss.queue set monitor_claim_on = least(monitor_claim_on, clock_timestamp()),
      monitor_on = least(monitor_on, clock_timestamp()), maintain_on = least(maintain_on, clock_timestamp())`.execute(
      trx,
    );
    await sql`update pgboss.version set monitor_backoff_on = least(monitor_backoff_on, clock_timestamp())`.execute(trx);
  });
}
