import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { counted, shared } from '../../../platform/counted.ts';
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

/** Of all organizations; one has up to three quarters of them. */
const MEMBERS = 2_000;
/** Connections of one address that have not shown a key yet, and of all; they have ten seconds for it. */
const NEW_OF_AN_ADDRESS = 100;
const NEW = 400;
const TRY_AGAIN_LATER = 1013;

/** The channel on which the newest SDKs hear of changes in place of asking again and again. */
export function eventChannelRoutes(deps: EventChannelDeps): FastifyPluginAsyncZod {
  return async (app) => {
    const hub = createHub({ db: deps.db, events: deps.events, log: app.log });
    app.addHook('preClose', async () => hub.close());
    const members = shared(MEMBERS);
    const newOfAddress = counted(NEW_OF_AN_ADDRESS);
    const newOnes = counted(NEW);
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
        const leaves = [newOfAddress(request.ip), newOnes('')];
        const noLongerNew = () => {
          for (const leave of leaves) leave?.();
        };
        if (leaves.includes(undefined)) {
          noLongerNew();
          socket.close(TRY_AGAIN_LATER, 'too many');
          return;
        }
        serveConnection(socket, {
          ended: noLongerNew,
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
          join(organizationId) {
            const giveBack = members(organizationId);
            if (giveBack === undefined) return undefined;
            noLongerNew();
            const leave = hub.join(organizationId, { socket, publicUrl });
            return () => {
              leave();
              giveBack();
            };
          },
        });
      },
    });
  };
}
