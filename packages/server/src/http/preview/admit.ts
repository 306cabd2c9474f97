import type { IncomingMessage } from 'node:http';
import type { Previews, PreviewTarget } from '../../sandboxes/index.ts';
import type { KeyVerifier } from '../../tenancy/key-verifier.ts';
import type { RateLimiter } from '../rate-limit.ts';
import { mayUseCookie } from './cookie-use.ts';
import { shownCredentials } from './credentials.ts';
import type { PreviewPlace } from './place.ts';
import { PreviewProblem } from './problem.ts';

export interface AdmitDeps {
  previews: Previews;
  keys: Pick<KeyVerifier, 'verify'>;
  rateLimiter: RateLimiter;
  /** The sandbox that a host name shows. */
  sandboxAt(host: string): string | undefined;
}

export interface Admitted {
  target: PreviewTarget;
  /** The key came in the URL and is good: from now on a cookie can stand for it. */
  byQuery: boolean;
}

/** Finds what a request is for and whether it may see it; raises a problem where not. */
export async function admit(deps: AdmitDeps, request: IncomingMessage, place: PreviewPlace): Promise<Admitted> {
  const { previews } = deps;
  const target = await previews.find(place.subject, place.port);
  const shown = shownCredentials(request.headers, place.target);
  const [none, noOrganization] = [[] as readonly string[], undefined];
  const byQuery =
    shown.query.length > 0 &&
    previews.mayOpen(
      // The cookie opens more than a link does: no link may be turned into one.
      { ...target, isPublic: false, link: undefined },
      { tokens: shown.query, cookies: none, organizationId: noOrganization },
    );
  if (byQuery) return { target, byQuery };
  const tokens = [...shown.header, ...shown.query];
  const isOwnPage = (host: string) => host === request.headers.host || deps.sandboxAt(host) === target.sandboxId;
  const cookies = mayUseCookie(request, isOwnPage) ? shown.cookies : none;
  const credentials = { tokens, cookies, organizationId: noOrganization };
  if (previews.mayOpen(target, credentials)) return { target, byQuery };
  const organizationId = await organizationOf(deps, shown.key);
  if (previews.mayOpen(target, { ...credentials, organizationId })) return { target, byQuery };
  refuse(deps, request, tokens.length + shown.cookies.length > 0 || shown.key !== undefined);
}

/** Of a key that may work with sandboxes. */
async function organizationOf({ keys }: AdmitDeps, key: string | undefined): Promise<string | undefined> {
  const auth = key === undefined ? undefined : await keys.verify(key);
  return auth && (auth.isAdmin || auth.permissions.has('write:sandboxes')) ? auth.organizationId : undefined;
}

function refuse({ rateLimiter }: AdmitDeps, request: IncomingMessage, hasShownSomething: boolean): never {
  if (hasShownSomething) {
    const state = rateLimiter.hit('failed-auth', request.socket.remoteAddress ?? '');
    if (state.exceeded) {
      throw new PreviewProblem(429, 'Too many wrong credentials. Please try again later.', {
        retryAfterSeconds: state.resetSeconds,
      });
    }
  }
  throw new PreviewProblem(
    401,
    `This preview is private${hasShownSomething ? ', and what the request shows does not open it' : ''}. Ask for its URL again (a signed one opens in a browser), or send its token as the header X-Daytona-Preview-Token.`,
  );
}
