import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { requirePermission } from '../../auth-plugin.ts';
import { type SandboxRouteDeps, sandboxParams } from './common.ts';
import { callerOf } from './requests.ts';

/** Routes that the clients know: they get a clear refusal, and 404 for a sandbox that is not there. */
const ROUTES = [
  ['POST', 'archive', 'Archiving a sandbox'],
  ['POST', 'backup', 'Backing up a sandbox'],
  ['POST', 'ttl/:minutes', 'A time to live'],
  ['POST', 'autopause/:minutes', 'Pausing a sandbox by itself'],
  ['PUT', 'secrets', 'Giving secrets to a sandbox'],
  ['GET', 'telemetry/:kind', 'The telemetry of a sandbox'],
] as const;

export function unsupportedRoutes(deps: SandboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    for (const [method, path, what] of ROUTES) {
      app.route({
        method,
        url: `/sandbox/:sandboxIdOrName/${path}`,
        schema: { tags: ['sandbox'], params: sandboxParams, hide: true },
        ...(method === 'GET' ? {} : { onRequest: requirePermission('write:sandboxes') }),
        handler: async (request) => {
          const { sandboxIdOrName } = sandboxParams.parse(request.params);
          return deps.sandboxes.refuse(callerOf(request.auth), sandboxIdOrName, what);
        },
      });
    }
  };
}
