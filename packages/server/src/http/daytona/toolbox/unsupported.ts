import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { invalidRequest } from '../../../platform/errors.ts';

const TOOLS = [
  ['lsp', 'Language servers are', 'Start one in a session of the sandbox and talk to it over a previewed port.'],
  ['env', 'Changes of the environment of a running sandbox are', 'Give variables at create, or with each command.'],
  ['computeruse', 'Desktops are', 'A browser without a screen can be run by commands.'],
] as const;

/** Tools that the clients know: they get a clear refusal in place of a route that is not found. */
export function unsupportedToolRoutes(): FastifyPluginAsyncZod {
  return async (app) => {
    for (const [path, what, hint] of TOOLS) {
      for (const url of [`/:sandboxId/${path}`, `/:sandboxId/${path}/*`]) {
        app.all(url, { schema: { hide: true } }, async () => {
          throw invalidRequest(`${what} not supported by this server yet`, { hint });
        });
      }
    }
  };
}
