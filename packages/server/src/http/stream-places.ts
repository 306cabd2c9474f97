import type { FastifyInstance } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { counted, shared } from '../platform/counted.ts';
import { DarkroomError } from '../platform/errors.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** For an answer that may never end; the function that comes back ends its place. Raises when there is none left. */
    takeStreamPlace?: (request: FastifyRequest) => () => void;
  }
}

/** Followed logs and streams of events of one key. */
const OF_A_KEY = 128;
/** Of all; an organization has up to three quarters of them. */
const OF_ALL = 1_024;
const RETRY_SECONDS = 5;

/** Answers without an end are counted, so that nobody takes all connections and descriptors with them. */
export const streamPlaces = fastifyPlugin<{ ofAKey?: number; ofAll?: number }>(
  async (app: FastifyInstance, { ofAKey = OF_A_KEY, ofAll = OF_ALL }) => {
    const ofKey = counted(ofAKey);
    const ofOrganization = shared(ofAll);
    app.decorate('takeStreamPlace', ({ auth }) => {
      const leaveKey = ofKey(auth.keyId);
      if (leaveKey === undefined) {
        throw refused('rate_limited', `This API key has ${ofAKey} streams open, which is as many as it may`);
      }
      const leaveOrganization = ofOrganization(auth.organizationId);
      if (leaveOrganization === undefined) {
        leaveKey();
        throw refused('unavailable', 'Too many streams are open on this server');
      }
      return () => {
        leaveKey();
        leaveOrganization();
      };
    });
  },
);

const refused = (code: 'rate_limited' | 'unavailable', message: string) =>
  new DarkroomError(code, message, {
    hint: 'Close some, or ask for pages in place of a stream.',
    retryable: true,
    details: { retryAfterSeconds: RETRY_SECONDS },
  });
