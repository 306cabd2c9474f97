import { type ApiKeyDto, apiKeySchema, createApiKeySchema, newApiKeySchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import type { Database } from '../../platform/db/schema.ts';
import { maskKey } from '../../tenancy/api-key.ts';
import {
  type ApiKeyRow,
  createApiKey,
  currentApiKey,
  deleteApiKey,
  getApiKey,
  listApiKeys,
} from '../../tenancy/api-keys.ts';
import type { KeyVerifier } from '../../tenancy/key-verifier.ts';
import { requirePermission } from '../auth-plugin.ts';

export interface ApiKeyRouteDeps {
  db: Kysely<Database>;
  keys: KeyVerifier;
}

const params = z.object({ name: z.string() });
const tags = ['api-keys'];
// Daytona asks for a token of a signed-in person here. There is no sign-in yet: a key that may manage keys does.
const onRequest = requirePermission('manage:api_keys');

export function apiKeyRoutes({ db, keys }: ApiKeyRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/api-keys/current',
      { schema: { tags, summary: 'The key of this request', response: { 200: apiKeySchema } } },
      async ({ auth }) => apiKeyDto(await currentApiKey(db, auth)),
    );
    app.post(
      '/api-keys',
      {
        onRequest,
        schema: {
          tags,
          summary: 'Make a key; it is shown this once',
          body: createApiKeySchema,
          response: { 201: newApiKeySchema },
        },
      },
      async ({ auth, body }, reply) => {
        const expiresAt = body.expiresAt == null ? undefined : new Date(body.expiresAt);
        const row = await createApiKey(db, auth, { name: body.name, permissions: body.permissions, expiresAt });
        // The one time that the whole key is shown.
        const { name, value, createdAt, permissions, expiresAt: until } = { ...apiKeyDto(row), value: row.value };
        return reply.code(201).send({ name, value, createdAt, permissions, expiresAt: until });
      },
    );
    app.get(
      '/api-keys',
      { onRequest, schema: { tags, summary: 'List keys', response: { 200: z.array(apiKeySchema) } } },
      async ({ auth }) => (await listApiKeys(db, auth)).map(apiKeyDto),
    );
    app.get(
      '/api-keys/:name',
      { onRequest, schema: { tags, summary: 'A key by its name', params, response: { 200: apiKeySchema } } },
      async ({ auth, params: { name } }) => apiKeyDto(await getApiKey(db, auth, name)),
    );
    app.delete(
      '/api-keys/:name',
      {
        onRequest,
        schema: { tags, summary: 'Delete a key; it ends at once', params, response: { 204: z.undefined() } },
      },
      async ({ auth, params: { name } }, reply) => {
        await deleteApiKey({ db, keys }, auth, name);
        return reply.code(204).send();
      },
    );
  };
}

function apiKeyDto(row: ApiKeyRow): ApiKeyDto {
  return {
    name: row.name,
    value: maskKey(row),
    createdAt: row.created_at.toISOString(),
    permissions: row.permissions,
    lastUsedAt: row.last_used_at?.toISOString() ?? null,
    expiresAt: row.expires_at?.toISOString() ?? null,
    userId: row.user_id,
  };
}
