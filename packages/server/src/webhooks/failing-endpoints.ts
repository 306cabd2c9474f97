import { type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';

const MAX_FAILING_DAYS = 5;
/** A server that was away for days has tried hardly anything in them. */
const MIN_ATTEMPTS = 10;
const REASON = `All attempts of ${MAX_FAILING_DAYS} days failed`;

/** An attempt came through. Nearly always there is nothing to write. */
export async function noteSuccess(db: Kysely<Database>, endpointId: string): Promise<void> {
  await db
    .updateTable('webhook_endpoints')
    .set({ failing_since: null })
    .where('id', '=', endpointId)
    .where('failing_since', 'is not', null)
    .execute();
}

/**
 * An attempt failed. Whoever has not answered well for days is switched off: each event is a row that waits, and nobody is there. Returns why
 * when that is so now. Written only when something changes, since an endpoint that is written makes who sends its events wait.
 */
export async function noteFailure(db: Kysely<Database>, endpointId: string): Promise<string | undefined> {
  // After the clock jumped back it began just now.
  await sql`update webhook_endpoints set failing_since = now()
    where id = ${endpointId}::uuid and (failing_since is null or failing_since > now())`.execute(db);
  const { rows } = await sql`
    update webhook_endpoints e set enabled = false, disabled_at = now(), disabled_reason = ${REASON}, updated_at = now()
    where id = ${endpointId}::uuid and enabled
      and failing_since < now() - make_interval(days => ${MAX_FAILING_DAYS})
      and (select sum(attempts) from webhook_deliveries d
        where d.endpoint_id = e.id and d.last_attempt_at >= e.failing_since) >= ${MIN_ATTEMPTS}
    returning 1`.execute(db);
  return rows.length > 0 ? REASON : undefined;
}
