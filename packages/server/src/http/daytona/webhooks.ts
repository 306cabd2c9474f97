import {
  createWebhookEndpointSchema,
  listWebhookDeliveriesQuerySchema,
  updateWebhookEndpointSchema,
  type WebhookDeliveryDto,
  type WebhookEndpointDto,
  webhookDeliveryPageSchema,
  webhookDeliverySchema,
  webhookEndpointSchema,
  webhookSecretSchema,
} from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type DeliveryRow, listDeliveries, replayDelivery } from '../../webhooks/deliveries.ts';
import {
  createEndpoint,
  deleteEndpoint,
  type EndpointDeps,
  type EndpointRow,
  getEndpoint,
  listEndpoints,
  rotateSecret,
  updateEndpoint,
} from '../../webhooks/endpoints.ts';
import type { Webhooks } from '../../webhooks/webhooks.ts';
import { requirePermission } from '../auth-plugin.ts';

export type WebhookRouteDeps = Omit<EndpointDeps, 'allowInternal'> & {
  webhooks: Pick<Webhooks, 'wake'>;
  config: { webhooks: { allowInternal: boolean } };
};

const tags = ['webhooks'];
const base = '/webhooks/endpoints';
const params = z.object({ id: z.string() });
/** Whoever can have all events sent away can do as much as whoever makes keys. */
const onRequest = requirePermission('manage:api_keys');

export function webhookRoutes(deps: WebhookRouteDeps): FastifyPluginAsyncZod {
  const endpoints: EndpointDeps = {
    db: deps.db,
    secrets: deps.secrets,
    allowInternal: deps.config.webhooks.allowInternal,
  };
  return async (app) => {
    app.addHook('onRequest', onRequest);
    app.post(
      base,
      {
        schema: {
          tags,
          summary: 'Send events to a URL from now on; the answer has the secret that signs them',
          body: createWebhookEndpointSchema,
          response: { 200: webhookSecretSchema },
        },
      },
      async ({ auth, body }) => {
        const { row, secret } = await createEndpoint(endpoints, auth.organizationId, body);
        deps.webhooks.wake();
        return { ...endpointDto(row), secret };
      },
    );
    app.get(
      base,
      { schema: { tags, summary: 'Where events are sent', response: { 200: z.array(webhookEndpointSchema) } } },
      async ({ auth }) => (await listEndpoints(deps.db, auth.organizationId)).map(endpointDto),
    );
    app.get(
      `${base}/:id`,
      { schema: { tags, summary: 'One of them', params, response: { 200: webhookEndpointSchema } } },
      async ({ auth, params: { id } }) => endpointDto(await getEndpoint(deps.db, auth.organizationId, id)),
    );
    app.patch(
      `${base}/:id`,
      {
        schema: {
          tags,
          summary: 'Change it, or switch it off and on',
          params,
          body: updateWebhookEndpointSchema,
          response: { 200: webhookEndpointSchema },
        },
      },
      async ({ auth, params: { id }, body }) => {
        const row = await updateEndpoint(endpoints, auth.organizationId, id, body);
        deps.webhooks.wake();
        return endpointDto(row);
      },
    );
    app.delete(
      `${base}/:id`,
      { schema: { tags, summary: 'Send nothing more there', params, response: { 204: z.undefined() } } },
      async ({ auth, params: { id } }, reply) => {
        await deleteEndpoint(deps.db, auth.organizationId, id);
        return reply.code(204).send();
      },
    );
    app.post(
      `${base}/:id/rotate-secret`,
      {
        schema: {
          tags,
          summary: 'A new secret; the one before signs too for a day',
          params,
          response: { 200: webhookSecretSchema },
        },
      },
      async ({ auth, params: { id } }) => {
        const { row, secret } = await rotateSecret(endpoints, auth.organizationId, id);
        return { ...endpointDto(row), secret };
      },
    );
    await app.register(deliveryRoutes(deps));
  };
}

function deliveryRoutes({ db, webhooks }: WebhookRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      `${base}/:id/deliveries`,
      {
        schema: {
          tags,
          summary: 'What was sent there, and what came of it; newest first',
          params,
          querystring: listWebhookDeliveriesQuerySchema,
          response: { 200: webhookDeliveryPageSchema },
        },
      },
      async ({ auth, params: { id }, query }) => {
        const endpoint = await getEndpoint(db, auth.organizationId, id);
        const rows = await listDeliveries(db, endpoint.id, query);
        const last = rows.at(-1);
        const next = last === undefined || rows.length < query.limit ? {} : { next: String(last.number) };
        return { items: rows.map(deliveryDto), ...next };
      },
    );
    app.post(
      `${base}/:id/deliveries/:deliveryId/replay`,
      {
        schema: {
          tags,
          summary: 'Send it once more',
          params: params.extend({ deliveryId: z.string() }),
          response: { 200: webhookDeliverySchema },
        },
      },
      async ({ auth, params: { id, deliveryId } }) => {
        const endpoint = await getEndpoint(db, auth.organizationId, id);
        const row = await replayDelivery(db, endpoint.id, deliveryId);
        webhooks.wake();
        return deliveryDto(row);
      },
    );
  };
}

function endpointDto(row: EndpointRow): WebhookEndpointDto {
  return {
    id: row.id,
    url: row.url,
    description: row.description,
    eventTypes: row.event_types,
    enabled: row.enabled,
    disabledAt: row.disabled_at?.toISOString() ?? null,
    disabledReason: row.disabled_reason,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}

function deliveryDto(row: DeliveryRow): WebhookDeliveryDto {
  return {
    id: row.id,
    messageId: `msg_${row.id}`,
    eventType: row.event_type,
    state: row.state,
    attempts: row.attempts,
    payload: row.payload,
    lastStatus: row.last_status,
    lastError: row.last_error,
    lastAttemptAt: row.last_attempt_at?.toISOString() ?? null,
    nextAttemptAt: row.next_attempt_at?.toISOString() ?? null,
    createdAt: row.created_at.toISOString(),
  };
}
