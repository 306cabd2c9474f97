import { randomBytes, randomUUID } from 'node:crypto';
import type { Kysely, Selectable } from 'kysely';
import type { EventName } from '../lifecycle/events/event-name.ts';
import { latestCursor } from '../lifecycle/events/read-events.ts';
import type { Database, WebhookEndpointTable } from '../platform/db/schema.ts';
import { DarkroomError, notFound } from '../platform/errors.ts';
import type { SecretBox } from '../platform/secrets.ts';
import { isUuid } from '../snapshots/find.ts';
import { checkUrl } from './check-url.ts';

export type EndpointRow = Selectable<WebhookEndpointTable>;

export interface EndpointDeps {
  db: Kysely<Database>;
  secrets: Pick<SecretBox, 'seal' | 'open'>;
  allowInternal: boolean;
}

export interface EndpointSettings {
  url?: string | undefined;
  description?: string | undefined;
  /** Null for all. */
  eventTypes?: readonly EventName[] | null | undefined;
  enabled?: boolean | undefined;
}

const MAX_ENDPOINTS = 20;
const SECRET_BYTES = 32;
/** Receivers change over in this time; both secrets sign meanwhile. */
const OVERLAP_MS = 24 * 60 * 60 * 1000;

const newSecret = () => `whsec_${randomBytes(SECRET_BYTES).toString('base64')}`;
export const secretContext = (id: string) => `webhook ${id}`;

/** Gets the events from now on. The secret is shown this once. */
export async function createEndpoint(
  { db, secrets, allowInternal }: EndpointDeps,
  organizationId: string,
  settings: EndpointSettings & { url: string },
): Promise<{ row: EndpointRow; secret: string }> {
  checkUrl(settings.url, allowInternal);
  const id = randomUUID();
  const secret = newSecret();
  const row = await db.transaction().execute(async (trx) => {
    // Two at once must not both take the last place.
    await trx.selectFrom('organizations').select('id').where('id', '=', organizationId).forNoKeyUpdate().execute();
    if ((await listEndpoints(trx, organizationId)).length >= MAX_ENDPOINTS) {
      throw new DarkroomError('quota_exceeded', `An organization has at most ${MAX_ENDPOINTS} webhook endpoints`);
    }
    const place = await latestCursor(trx);
    return trx
      .insertInto('webhook_endpoints')
      .values({
        id,
        organization_id: organizationId,
        url: settings.url,
        description: settings.description ?? '',
        event_types: settings.eventTypes == null ? null : [...settings.eventTypes],
        enabled: settings.enabled ?? true,
        secret: secrets.seal(secret, secretContext(id)),
        cursor_txid: place.txid,
        cursor_id: place.id,
      })
      .returningAll()
      .executeTakeFirstOrThrow();
  });
  return { row, secret };
}

export function listEndpoints(db: Kysely<Database>, organizationId: string): Promise<EndpointRow[]> {
  return db
    .selectFrom('webhook_endpoints')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .orderBy('created_at')
    .orderBy('id')
    .execute();
}

export async function getEndpoint(db: Kysely<Database>, organizationId: string, id: string): Promise<EndpointRow> {
  const row = isUuid(id)
    ? await db
        .selectFrom('webhook_endpoints')
        .selectAll()
        .where('organization_id', '=', organizationId)
        .where('id', '=', id)
        .executeTakeFirst()
    : undefined;
  if (row === undefined) throw endpointNotFound(id);
  return row;
}

/** One that was switched off goes on with the events from when it is switched on again. */
export async function updateEndpoint(
  { db, allowInternal }: EndpointDeps,
  organizationId: string,
  id: string,
  settings: EndpointSettings,
): Promise<EndpointRow> {
  if (settings.url !== undefined) checkUrl(settings.url, allowInternal);
  const before = await getEndpoint(db, organizationId, id);
  const { eventTypes } = settings;
  const place = settings.enabled === true && !before.enabled ? await latestCursor(db) : undefined;
  // What somebody has said about it since then counts.
  const isJudgedAnew = settings.enabled !== undefined || settings.url !== undefined;
  return db
    .updateTable('webhook_endpoints')
    .set({
      updated_at: new Date(),
      ...(settings.url === undefined ? {} : { url: settings.url }),
      ...(settings.description === undefined ? {} : { description: settings.description }),
      ...(eventTypes === undefined ? {} : { event_types: eventTypes === null ? null : [...eventTypes] }),
      ...(settings.enabled === undefined ? {} : { enabled: settings.enabled }),
      ...(isJudgedAnew ? { failing_since: null } : {}),
      ...(settings.enabled === undefined ? {} : { disabled_at: null, disabled_reason: null }),
      ...(place === undefined ? {} : { cursor_txid: place.txid, cursor_id: place.id }),
    })
    .where('id', '=', before.id)
    .returningAll()
    .executeTakeFirst()
    .then((row) => row ?? Promise.reject(endpointNotFound(id)));
}

/** What waits to be delivered goes with it. */
export async function deleteEndpoint(db: Kysely<Database>, organizationId: string, id: string): Promise<void> {
  const { id: found } = await getEndpoint(db, organizationId, id);
  await db.deleteFrom('webhook_endpoints').where('id', '=', found).execute();
}

/** A new secret, shown this once. The one before signs beside it for a day. */
export async function rotateSecret(
  { db, secrets }: EndpointDeps,
  organizationId: string,
  id: string,
): Promise<{ row: EndpointRow; secret: string }> {
  const before = await getEndpoint(db, organizationId, id);
  const secret = newSecret();
  const row = await db
    .updateTable('webhook_endpoints')
    .set({
      secret: secrets.seal(secret, secretContext(before.id)),
      previous_secret: before.secret,
      previous_secret_until: new Date(Date.now() + OVERLAP_MS),
      updated_at: new Date(),
    })
    .where('id', '=', before.id)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) throw endpointNotFound(id);
  return { row, secret };
}

const endpointNotFound = (id: string) => notFound(`Webhook endpoint with ID ${id} not found`);
