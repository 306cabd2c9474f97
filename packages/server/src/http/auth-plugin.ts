import type { Permission } from '@darkroom/contract';
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import { DarkroomError } from '../platform/errors.ts';
import { type AuthContext, assertPermission } from '../tenancy/auth-context.ts';
import type { KeyVerifier } from '../tenancy/key-verifier.ts';
import type { RateLimiter, RateLimitName, RateLimitState } from './rate-limit.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks. Raises `unauthenticated` on routes with `config: { public: true }`. */
    readonly auth: AuthContext;
    verifiedAuth: AuthContext | null;
  }
  interface FastifyContextConfig {
    /** A signed URL will do in place of a key. */
    signedFiles?: boolean;
    /** No key is needed. */
    public?: boolean;
    /** The route looks at the header that names an organization itself (`assertOrganization`). */
    looksAtOrganization?: boolean;
    /** A limit that counts besides `authenticated`. */
    rateLimit?: RateLimitName;
  }
}

export interface AuthPluginDeps {
  /** Asked about requests without a key of the API. */
  guest?: ((request: FastifyRequest) => Promise<AuthContext | undefined>) | undefined;
  keys: KeyVerifier;
  rateLimiter: RateLimiter;
}

/** Every route of the scope needs a key, unless its config says `public: true`; every request counts against its limits. */
export const authPlugin = fastifyPlugin<AuthPluginDeps>(async (app: FastifyInstance, deps) => {
  app.decorateRequest('verifiedAuth', null);
  app.decorateRequest('auth', {
    getter(this: FastifyRequest): AuthContext {
      if (this.verifiedAuth === null) throw invalidCredentials();
      return this.verifiedAuth;
    },
  });
  app.addHook('onRequest', async (request, reply) => {
    const { config } = request.routeOptions;
    if (config.public === true || request.is404) return count(deps, reply, 'anonymous', request.ip);
    const auth = await verified(deps, request, reply);
    request.verifiedAuth = auth;
    count(deps, reply, 'authenticated', auth.organizationId);
    if (config.rateLimit !== undefined) count(deps, reply, config.rateLimit, auth.organizationId);
  });
});

/** For a route's `onRequest`, so that a key that may not is refused before its body is read or judged. */
export function requirePermission(...anyOf: Permission[]): onRequestHookHandler {
  return (request, _reply, done) => {
    assertPermission(request.auth, ...anyOf);
    done();
  };
}

async function verified(deps: AuthPluginDeps, request: FastifyRequest, reply: FastifyReply): Promise<AuthContext> {
  const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  const auth = token === undefined ? await deps.guest?.(request) : await deps.keys.verify(token);
  if (auth === undefined) {
    // Only failures count and only failures are refused: a good key is never locked out by a neighbour's bad one.
    count(deps, reply, 'failed-auth', request.ip);
    throw invalidCredentials();
  }
  if (request.routeOptions.config.looksAtOrganization !== true) assertOrganization(auth, organizationHeader(request));
  return auth;
}

export function organizationHeader(request: FastifyRequest): string | undefined {
  return request.headers['x-daytona-organization-id']?.toString() || undefined;
}

/** A key belongs to exactly one organization. Clients send the header with it only by mistake: say so. */
export function assertOrganization(auth: AuthContext, named: string | undefined): void {
  if (named === undefined || named === auth.organizationId) return;
  throw new DarkroomError('forbidden', 'The API key does not belong to the organization that the request names');
}

function count(deps: AuthPluginDeps, reply: FastifyReply, name: RateLimitName, subject: string): void {
  const state = deps.rateLimiter.hit(name, subject);
  setHeaders(reply, name, state);
  if (!state.exceeded) return;
  reply.header(`retry-after-${name}`, String(state.resetSeconds));
  throw new DarkroomError('rate_limited', 'Rate limit exceeded. Please try again later.', {
    retryable: true,
    details: { retryAfterSeconds: state.resetSeconds },
  });
}

function setHeaders(reply: FastifyReply, name: RateLimitName, state: RateLimitState): void {
  reply.header(`x-ratelimit-limit-${name}`, String(state.limit));
  reply.header(`x-ratelimit-remaining-${name}`, String(state.remaining));
  reply.header(`x-ratelimit-reset-${name}`, String(state.resetSeconds));
}

const invalidCredentials = () => new DarkroomError('unauthenticated', 'Invalid credentials');
