import { type Kysely, sql } from 'kysely';
import { readEvents } from '../lifecycle/events/read-events.ts';
import type { Database } from '../platform/db/schema.ts';
import { failpoint } from '../platform/failpoints.ts';
import { webhookMessage } from './payload.ts';

const BATCH = 200;
/** Of one endpoint. What happens when so many wait is not sent to it: the oldest stay. */
export const MAX_PENDING = 10_000;

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
 * whatever ends in between. `more`: look again at once; `soon`: another transaction is at it.
 * `onDropped` hears how many found no room.
 */
export function fanOut(
  db: Kysely<Database>,
  endpointId: string,
  onDropped: (count: number) => void,
): Promise<'done' | 'more' | 'soon'> {
  return db.transaction().execute(async (trx) => {
    const endpoint = await trx
      .selectFrom('webhook_endpoints')
      .selectAll()
      .where('id', '=', endpointId)
      .where('enabled', '=', true)
      .forUpdate()
      .skipLocked()
      .executeTakeFirst();
    // Somebody writes it just now, or it is gone.
    if (endpoint === undefined) return 'soon';
    const after = { txid: endpoint.cursor_txid, id: endpoint.cursor_id };
    const { events, isHeldBack } = await readEvents(trx, endpoint.organization_id, after, BATCH);
    const last = events.at(-1);
    if (last === undefined) return isHeldBack ? 'soon' : 'done';
    const { event_types: types } = endpoint;
    const messages = events.map(webhookMessage).filter(({ type }) => types === null || types.includes(type));
    const room = messages.length > 0 ? MAX_PENDING - (await countPending(trx, endpoint.id)) : 0;
    const kept = messages.slice(0, Math.max(0, room));
    if (kept.length < messages.length) onDropped(messages.length - kept.length);
    if (kept.length > 0) {
      await trx
        .insertInto('webhook_deliveries')
        .values(
          kept.map(({ type, payload }) => ({
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

async function countPending(db: Kysely<Database>, endpointId: string): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*)::float8 as count from (
    select from webhook_deliveries where endpoint_id = ${endpointId}::uuid and next_attempt_at is not null
    limit ${MAX_PENDING}) waiting`.execute(db);
  return rows[0]?.count ?? 0;
}
