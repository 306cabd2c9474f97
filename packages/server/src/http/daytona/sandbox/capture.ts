import { captureSandboxSchema, sandboxSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { requirePermission } from '../../auth-plugin.ts';
import { baseUrl, type SandboxRouteDeps, sandboxParams } from './common.ts';
import { toSandboxDto } from './dto.ts';
import { callerOf } from './requests.ts';

export function captureRoutes(deps: SandboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.post(
      '/sandbox/:sandboxIdOrName/snapshot',
      {
        config: { rateLimit: 'sandbox-create' },
        onRequest: requirePermission('write:sandboxes'),
        schema: {
          tags: ['sandbox'],
          summary: 'Make a snapshot of a sandbox, which goes on; answers when the snapshot is active',
          params: sandboxParams,
          body: captureSandboxSchema,
          response: { 200: sandboxSchema },
        },
      },
      async (request) => {
        const { name, includeMemory } = request.body;
        const { sandbox } = await deps.sandboxes.capture(callerOf(request.auth), request.params.sandboxIdOrName, {
          name,
          includeMemory: includeMemory ?? false,
        });
        return toSandboxDto(sandbox, baseUrl(deps, request));
      },
    );
  };
}
