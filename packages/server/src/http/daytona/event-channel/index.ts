import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { KeyVerifier } from '../../../tenancy/key-verifier.ts';
import { publicUrlOf } from '../../public-url.ts';
import type { RateLimiter } from '../../rate-limit.ts';
import { routeNotFound } from '../errors.ts';
import { serveConnection } from './connection.ts';
import { createHub, type HubDeps } from './hub.ts';

export interface EventChannelDeps extends Omit<HubDeps, 'log'> {
  keys: Pick<KeyVerifier, 'verify'>;
  rateLimiter: Pick<RateLimiter, 'hit'>;
  config: { publicUrl?: string | undefined };
}

/** The channel on which the newest SDKs hear of changes in place of asking again and again. */
export function eventChannelRoutes(deps: EventChannelDeps): FastifyPluginAsyncZod {
  return async (app) => {
    const hub = createHub({ db: deps.db, events: deps.events, log: app.log });
    app.addHook('preClose', async () => hub.close());
    app.route({
      method: 'GET',
      url: '/socket.io',
      // The token comes in the first message.
      config: { public: true },
      schema: { hide: true },
      handler: (request) => {
        throw routeNotFound(request);
      },
      wsHandler: (socket, request) => {
        const publicUrl = publicUrlOf(deps.config.publicUrl, request);
        const { organizationId: named } = Object(request.query);
        serveConnection(socket, {
          async admit(token) {
            const auth = await deps.keys.verify(token);
            if (auth === undefined) {
              const { exceeded } = deps.rateLimiter.hit('failed-auth', request.ip);
              return { refused: exceeded ? 'Rate limit exceeded. Please try again later.' : 'Invalid credentials' };
            }
            if (named !== undefined && named !== '' && named !== auth.organizationId) {
              return { refused: 'The API key does not belong to the organization that the request names' };
            }
            return { organizationId: auth.organizationId };
          },
          join: (organizationId) => hub.join(organizationId, { socket, publicUrl }),
        });
      },
    });
  };
}
