import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { AuditWriter } from '../../audit/audit-writer.ts';
import type { DiskGuard } from '../../platform/disk-guard.ts';
import { type AuthPluginDeps, authPlugin } from '../auth-plugin.ts';
import { streamPlaces } from '../stream-places.ts';
import { auditHook } from './audit-hook.ts';
import { routeNotFound, sendApiError, sendToolboxError } from './errors.ts';
import { roomHook } from './room-hook.ts';

export interface DaytonaDeps {
  auth: AuthPluginDeps;
  /** Told of every request of `/api` that would change something. */
  audit: Pick<AuditWriter, 'record'>;
  /** Asked before what takes disk; without it nothing is refused. */
  disk?: Pick<DiskGuard, 'assertRoom'>;
  /** Who may into the toolbox without a key. */
  toolboxGuests: AuthPluginDeps['guest'];
  /** Plugins of `/api`, each `xxxRoutes(deps)` of a file in this folder. */
  api: readonly FastifyPluginAsyncZod[];
  /** Plugins of `/toolbox`; their routes begin with `/:sandboxId`. */
  toolbox: readonly FastifyPluginAsyncZod[];
}

const API_VERSION = 'v0.190.0';

/**
 * The Daytona dialect. A file of this folder exports `xxxRoutes(deps): FastifyPluginAsyncZod`; `routes.ts` makes those of
 * snapshots and accounts, `sandbox/` and `toolbox/` theirs, and the server hands them in here. In a route:
 * - `request.auth` is who asks; `config: { public: true }` opens a route to everyone;
 * - `onRequest: requirePermission('write:snapshots')` refuses a key before the body is read;
 * - `config: { rateLimit: 'sandbox-create' }` counts against a limit besides `authenticated`;
 * - a raised DarkroomError becomes the dialect's error body; nothing else needs to be caught.
 */
export function daytonaDialect(deps: DaytonaDeps): FastifyPluginAsyncZod {
  return async (app) => {
    await app.register(scope(deps.auth, deps.api, sendApiError, deps), { prefix: '/api' });
    await app.register(scope({ ...deps.auth, guest: deps.toolboxGuests }, deps.toolbox, sendToolboxError), {
      prefix: '/toolbox',
    });
  };
}

function scope(
  auth: AuthPluginDeps,
  routes: readonly FastifyPluginAsyncZod[],
  sendError: typeof sendApiError,
  { audit, disk }: Partial<Pick<DaytonaDeps, 'audit' | 'disk'>> = {},
): FastifyPluginAsyncZod {
  return async (app) => {
    app.addHook('onRequest', async (_request, reply) => {
      reply.header('x-daytona-api-version', API_VERSION);
    });
    app.setErrorHandler(sendError);
    app.setNotFoundHandler((request) => {
      throw routeNotFound(request);
    });
    await app.register(authPlugin, auth);
    await app.register(streamPlaces, {});
    if (audit !== undefined) await app.register(auditHook, { audit });
    if (disk !== undefined) await app.register(roomHook, { disk });
    for (const plugin of routes) await app.register(plugin);
  };
}
