import { type Kysely, sql } from 'kysely';
import type { Database } from '../../platform/db/schema.ts';

/**
 * A database that was restored from a dump begins to count transactions anew, and its events would come after all that follow. At the
 * start, before there are any, they are put to the front in the order of their ids. True when that was so.
 */
export async function settleRestoredEvents(db: Kysely<Database>): Promise<boolean> {
  const { rows } = await sql<{ restored: boolean }>`
    select txid > pg_snapshot_xmax(pg_current_snapshot())::text::int8 as restored from events order by id desc limit 1`.execute(
    db,
  );
  if (rows[0]?.restored !== true) return false;
  await db.transaction().execute(async (trx) => {
    // A place that is behind no event yet would be before all of them.
    await sql`update webhook_endpoints e set cursor_txid = 0,
      cursor_id = case when cursor_id > 0 then cursor_id else coalesce((
        select max(id) from events where organization_id = e.organization_id and txid < e.cursor_txid), 0) end`.execute(
      trx,
    );
    await sql`update events set txid = 0`.execute(trx);
  });
  return true;
}

/** A client's place from before: the events that it has seen are at the front now. */
export async function settledCursor<T extends { txid: number; id: number }>(
  db: Kysely<Database>,
  cursor: T,
): Promise<T> {
  const { rows } = await sql<{ ahead: boolean }>`
    select ${cursor.txid} > pg_snapshot_xmax(pg_current_snapshot())::text::int8 as ahead`.execute(db);
  return rows[0]?.ahead === true ? { ...cursor, txid: 0 } : cursor;
}
