import { webhookInitializationSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import type { Database } from '../../platform/db/schema.ts';
import { invalidRequest, notFound } from '../../platform/errors.ts';
import type { AuthContext } from '../../tenancy/auth-context.ts';
import { getOrganization } from '../../tenancy/organizations.ts';

export interface WebhookPortalDeps {
  db: Kysely<Database>;
  webhooks: { wake(): void };
}

const params = z.object({ id: z.string() });
const base = '/webhooks/organizations/:id';
const tags = ['webhooks'];

/** What Daytona's clients ask about its Svix account. Here webhooks are always there, and there is no portal. */
export function webhookPortalRoutes({ db, webhooks }: WebhookPortalDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      `${base}/initialization-status`,
      {
        schema: {
          tags,
          summary: 'Webhooks need no preparation here',
          params,
          response: { 200: webhookInitializationSchema },
        },
      },
      async ({ auth, params: { id } }) => {
        assertOwn(auth, id);
        const createdAt = (await getOrganization(db, auth.organizationId)).created_at.toISOString();
        const nothing = { svixApplicationId: null, lastError: null, retryCount: 0 };
        return { organizationId: auth.organizationId, ...nothing, createdAt, updatedAt: createdAt };
      },
    );
    app.post(
      `${base}/initialize`,
      { schema: { tags, summary: 'Nothing is to be done', params, response: { 201: z.undefined() } } },
      async ({ auth, params: { id } }, reply) => {
        assertOwn(auth, id);
        return reply.code(201).send();
      },
    );
    app.post(
      `${base}/refresh-endpoints`,
      { schema: { tags, summary: 'Look at endpoints and deliveries now', params, response: { 204: z.undefined() } } },
      async ({ auth, params: { id } }, reply) => {
        assertOwn(auth, id);
        webhooks.wake();
        return reply.code(204).send();
      },
    );
    app.post(`${base}/app-portal-access`, { schema: { hide: true, params } }, async ({ auth, params: { id } }) => {
      assertOwn(auth, id);
      throw invalidRequest('This server has no Svix portal', {
        hint: 'Endpoints of webhooks are made, changed and looked at by /api/webhooks/endpoints.',
      });
    });
  };
}

function assertOwn(auth: AuthContext, id: string): void {
  if (id.toLowerCase() !== auth.organizationId) throw notFound(`Organization with ID ${id} not found`);
}
