import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { requirePermission } from '../../auth-plugin.ts';
import { type SandboxRouteDeps, sandboxParams } from './common.ts';
import { callerOf } from './requests.ts';

/** The answer is a JSON string, as the clients' generated code has it. */
export function signingKeyRoutes({ sandboxes }: SandboxRouteDeps): FastifyPluginAsyncZod {
  const { fileLinks } = sandboxes;
  return async (app) => {
    app.addHook('onRequest', requirePermission('write:sandboxes'));
    const common = { tags: ['sandbox'], params: sandboxParams };
    app.get(
      '/sandbox/:sandboxIdOrName/signing-key',
      { schema: { ...common, summary: 'The key by which URLs of files are signed' } },
      async (request, reply) => {
        const key = await fileLinks.signingKey(callerOf(request.auth), request.params.sandboxIdOrName);
        return reply.type('application/json').send(JSON.stringify(key));
      },
    );
    app.post(
      '/sandbox/:sandboxIdOrName/signing-key/rotate',
      { schema: { ...common, summary: 'A new signing key: URLs signed before are worth nothing' } },
      async (request, reply) => {
        const key = await fileLinks.rotate(callerOf(request.auth), request.params.sandboxIdOrName);
        return reply.type('application/json').send(JSON.stringify(key));
      },
    );
  };
}
