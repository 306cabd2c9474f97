import { RegistryFailure, redactUrl } from './failure.ts';
import { MAX_REDIRECTS } from './limits.ts';
import type { Transport, TransportResponse } from './transport.ts';

export interface FollowedResponse {
  /** Where the answer came from, after redirects. */
  url: URL;
  redirected: boolean;
  response: TransportResponse;
}

export interface FollowOptions {
  /** `GET` without one. */
  method?: 'GET' | 'HEAD';
  headers: Record<string, string>;
  authorization: string | undefined;
  signal: AbortSignal;
  /** Also the first request may only go to a public address. */
  publicOnly?: boolean;
}

const MAX_REDIRECT_BODY = 16 * 1024;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * A request that follows redirects by hand: `Authorization` stays with the origin that it was made for, for good once it was
 * dropped, and a public registry cannot send us to loopback or private addresses.
 */
export async function follow(transport: Transport, start: URL, options: FollowOptions): Promise<FollowedResponse> {
  let url = start;
  let authorization = options.authorization;
  let publicOnly = options.publicOnly ?? false;
  for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
    const headers = authorization === undefined ? options.headers : { ...options.headers, authorization };
    const { method = 'GET', signal } = options;
    const response = await transport.request(url, { method, headers, signal, publicOnly });
    if (!REDIRECTS.has(response.statusCode)) return { url, redirected: hops > 0, response };
    // Read rather than cut off, so that the connection can be used again; it is short, or given up.
    await response.body.dump({ limit: MAX_REDIRECT_BODY }).catch(() => {});
    const next = target(url, response.headers.location);
    if (next.origin !== url.origin) {
      authorization = undefined;
      publicOnly ||= !transport.isInternal(url);
    }
    url = next;
  }
  throw new RegistryFailure(
    'response',
    `${options.method ?? 'GET'} ${redactUrl(start)}: more than ${MAX_REDIRECTS} redirects`,
  );
}

function target(from: URL, location: string | string[] | undefined): URL {
  if (typeof location !== 'string' || !URL.canParse(location, from.href)) {
    throw new RegistryFailure('response', `GET ${redactUrl(from)}: a redirect to nowhere`);
  }
  const next = new URL(location, from);
  // What stands before the @ would become an Authorization header that the registry chose.
  next.username = '';
  next.password = '';
  next.hash = '';
  return next;
}
