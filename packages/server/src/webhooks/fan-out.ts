import { type Kysely, sql } from 'kysely';
import { readEvents } from '../lifecycle/events/read-events.ts';
import type { Database } from '../platform/db/schema.ts';
import { failpoint } from '../platform/failpoints.ts';
import { webhookMessage } from './payload.ts';

const BATCH = 200;

/** Endpoints that are switched on, of some organizations or of all. */
export function enabledEndpoints(
  db: Kysely<Database>,
  organizations: readonly string[] | undefined,
): Promise<{ id: string; organization_id: string }[]> {
  const enabled = db.selectFrom('webhook_endpoints').select(['id', 'organization_id']).where('enabled', '=', true);
  if (organizations === undefined) return enabled.execute();
  return enabled.where(sql<boolean>`organization_id = any(${[...organizations]}::uuid[])`).execute();
}

/**
 * Makes deliveries of the next events of an endpoint, and notes how far it came in the same transaction: each event gives one delivery,
 * whatever ends in between. `more`: look again at once; `soon`: an older transaction is open.
 */
export function fanOut(db: Kysely<Database>, endpointId: string): Promise<'done' | 'more' | 'soon'> {
  return db.transaction().execute(async (trx) => {
    const endpoint = await trx
      .selectFrom('webhook_endpoints')
      .selectAll()
      .where('id', '=', endpointId)
      .where('enabled', '=', true)
      .forUpdate()
      .skipLocked()
      .executeTakeFirst();
    // Another server is at it, or it is gone.
    if (endpoint === undefined) return 'done';
    const after = { txid: endpoint.cursor_txid, id: endpoint.cursor_id };
    const { events, isHeldBack } = await readEvents(trx, endpoint.organization_id, after, BATCH);
    const last = events.at(-1);
    if (last === undefined) return isHeldBack ? 'soon' : 'done';
    const { event_types: types } = endpoint;
    const messages = events.map(webhookMessage).filter(({ type }) => types === null || types.includes(type));
    if (messages.length > 0) {
      await trx
        .insertInto('webhook_deliveries')
        .values(
          messages.map(({ type, payload }) => ({
            endpoint_id: endpoint.id,
            event_type: type,
            payload,
            next_attempt_at: sql<Date>`clock_timestamp()`,
          })),
        )
        .execute();
    }
    await trx
      .updateTable('webhook_endpoints')
      .set({ cursor_txid: last.cursor.txid, cursor_id: last.cursor.id })
      .where('id', '=', endpoint.id)
      .execute();
    await failpoint('webhook.fanned-out');
    return 'more';
  });
}
