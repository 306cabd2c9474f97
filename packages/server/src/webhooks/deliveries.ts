import { type Kysely, type Selectable, sql } from 'kysely';
import type { Database, WebhookDeliveryTable } from '../platform/db/schema.ts';
import { notFound } from '../platform/errors.ts';
import { isUuid } from '../snapshots/find.ts';
import type { SendResult } from './send.ts';

export type DeliveryRow = Selectable<WebhookDeliveryTable>;

export interface ClaimedDelivery {
  id: string;
  endpoint_id: string;
  organization_id: string;
  payload: string;
  attempts: number;
  url: string;
  secret: Buffer;
  previous_secret: Buffer | null;
  previous_secret_until: Date | null;
}

/** Longer than an attempt may take; a delivery whose server ended in the middle is tried again after this. */
const CLAIM_SECONDS = 60;
/** After each attempt that failed; after the last nothing more is tried. About 28 hours in all. */
const WAITS_SECONDS = [5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600];
const PER_ENDPOINT = 4;
/** Of one look; who has as many under way waits for them. */
export const PER_ORGANIZATION = 8;

/** Who has as much under way as there may be at once. */
export interface Busy {
  endpoints: readonly string[];
  organizations: readonly string[];
}

const notBusy = ({ endpoints, organizations }: Busy) =>
  sql`e.enabled and not e.id = any(${[...endpoints]}::uuid[]) and not e.organization_id = any(${[...organizations]}::uuid[])`;

/** Takes what has been due longest, a few of each endpoint and organization, so that those that answer slowly keep nobody else waiting. */
export async function claimDeliveries(db: Kysely<Database>, busy: Busy, limit: number): Promise<ClaimedDelivery[]> {
  const { rows } = await sql<ClaimedDelivery>`
    update webhook_deliveries d set attempts = attempts + 1, last_attempt_at = clock_timestamp(),
      next_attempt_at = clock_timestamp() + make_interval(secs => ${CLAIM_SECONDS})
    from (
      select * from (
        select due.*, e.organization_id, e.url, e.secret, e.previous_secret, e.previous_secret_until,
          row_number() over (partition by e.organization_id order by due.next_attempt_at) as turn
        from webhook_endpoints e cross join lateral (
          select id, next_attempt_at from webhook_deliveries
          where endpoint_id = e.id and next_attempt_at <= clock_timestamp()
          order by next_attempt_at limit ${PER_ENDPOINT} for update skip locked
        ) due
        where ${notBusy(busy)}
      ) ranked
      where turn <= ${PER_ORGANIZATION} order by next_attempt_at limit ${limit}
    ) claimed
    where d.id = claimed.id
    returning d.id, d.endpoint_id, claimed.organization_id, d.payload, d.attempts, claimed.url, claimed.secret,
      claimed.previous_secret, claimed.previous_secret_until`.execute(db);
  return rows;
}

/** Milliseconds until something is due; undefined when nothing is. */
export async function msToNextDelivery(db: Kysely<Database>, busy: Busy): Promise<number | undefined> {
  const { rows } = await sql<{ ms: number | null }>`
    select extract(epoch from min(due.at) - clock_timestamp())::float8 * 1000 as ms
    from webhook_endpoints e cross join lateral (
      select next_attempt_at as at from webhook_deliveries
      where endpoint_id = e.id and next_attempt_at is not null order by next_attempt_at limit 1
    ) due
    where ${notBusy(busy)}`.execute(db);
  return rows[0]?.ms ?? undefined;
}

/** Only while it is still the attempt of this claim: it may have been asked for again meanwhile. */
export async function noteAttempt(
  db: Kysely<Database>,
  { id, attempts }: Pick<ClaimedDelivery, 'id' | 'attempts'>,
  result: SendResult,
): Promise<void> {
  const wait = WAITS_SECONDS[attempts - 1];
  const state = result.ok ? 'delivered' : wait === undefined ? 'failed' : 'pending';
  // Those that failed together do not come back together.
  const seconds = (wait ?? 0) * (1 + Math.random() / 5);
  await db
    .updateTable('webhook_deliveries')
    .set({
      state,
      last_status: result.status,
      last_error: result.error,
      next_attempt_at: state === 'pending' ? sql`clock_timestamp() + make_interval(secs => ${seconds})` : null,
    })
    .where('id', '=', id)
    .where('attempts', '=', attempts)
    .execute();
}

/** After the clock jumped back: nothing waits for its length more. Forward, attempts come early, which does no harm. */
export async function settleDeliveryTimes(db: Kysely<Database>, ms: number): Promise<void> {
  if (ms >= 0) return;
  await sql`update webhook_deliveries
    set next_attempt_at = greatest(next_attempt_at - make_interval(secs => ${-ms / 1000}), clock_timestamp())
    where next_attempt_at > clock_timestamp()`.execute(db);
}

/** An attempt that the end of the server cut short does not count. */
export async function giveBack(
  db: Kysely<Database>,
  { id, attempts }: Pick<ClaimedDelivery, 'id' | 'attempts'>,
): Promise<void> {
  await db
    .updateTable('webhook_deliveries')
    .set({ attempts: attempts - 1, next_attempt_at: sql`clock_timestamp()` })
    .where('id', '=', id)
    .where('attempts', '=', attempts)
    .execute();
}

/** Newest first. */
export async function listDeliveries(
  db: Kysely<Database>,
  endpointId: string,
  { before, limit, state }: { before?: number | undefined; limit: number; state?: DeliveryRow['state'] | undefined },
): Promise<DeliveryRow[]> {
  let query = db.selectFrom('webhook_deliveries').selectAll().where('endpoint_id', '=', endpointId);
  if (before !== undefined) query = query.where('number', '<', before);
  if (state !== undefined) query = query.where('state', '=', state);
  return query.orderBy('number', 'desc').limit(limit).execute();
}

/** Sends it once more, with all its attempts, whatever came of it before. */
export async function replayDelivery(db: Kysely<Database>, endpointId: string, id: string): Promise<DeliveryRow> {
  const row = isUuid(id)
    ? await db
        .updateTable('webhook_deliveries')
        .set({ state: 'pending', attempts: 0, next_attempt_at: sql`clock_timestamp()` })
        .where('endpoint_id', '=', endpointId)
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst()
    : undefined;
  if (row === undefined) throw notFound(`Delivery with ID ${id} not found`);
  return row;
}
