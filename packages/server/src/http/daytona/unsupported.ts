import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { invalidRequest } from '../../platform/errors.ts';

const SERVICES = [
  ['volumes', 'Volumes'],
  ['secret', 'Secrets'],
  ['warm-pools', 'Warm pools'],
] as const;

/** Services that the clients know: they get a clear refusal in place of a route that is not found. */
export function unsupportedServiceRoutes(): FastifyPluginAsyncZod {
  return async (app) => {
    for (const [path, what] of SERVICES) {
      for (const url of [`/${path}`, `/${path}/*`]) {
        app.all(url, { schema: { hide: true } }, async () => {
          throw invalidRequest(`${what} are not supported by this server yet`);
        });
      }
    }
  };
}
