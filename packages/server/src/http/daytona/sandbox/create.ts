import { createSandboxSchema, sandboxSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { requirePermission } from '../../auth-plugin.ts';
import { buildInfoOf } from './build-info-of.ts';
import { baseUrl, type SandboxRouteDeps } from './common.ts';
import { toSandboxDto } from './dto.ts';
import { callerOf, toCreateRequest } from './requests.ts';

export function createRoute(deps: SandboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.post(
      '/sandbox',
      {
        schema: {
          summary:
            'Create a sandbox from a snapshot, and the answer comes when it runs; or from an image, which is built first',
          tags: ['sandbox'],
          // Some clients send nothing at all for the default sandbox.
          body: createSandboxSchema.nullish(),
          response: { 200: sandboxSchema },
        },
        config: { rateLimit: 'sandbox-create' },
        onRequest: requirePermission('write:sandboxes'),
      },
      async (request) => {
        // Not bound to the connection: a client that goes away leaves a sandbox that it finds by its name.
        const body = request.body ?? createSandboxSchema.parse({});
        const row = await deps.sandboxes.create(callerOf(request.auth), toCreateRequest(body));
        return toSandboxDto(row, baseUrl(deps, request), await buildInfoOf(deps, request.auth, row));
      },
    );
  };
}
