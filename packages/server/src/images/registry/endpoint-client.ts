import type { RegistryCredentials } from '../types.ts';
import { failureOfAnswer } from './answer.ts';
import { type Authorizer, createAuthorizer } from './authorizer.ts';
import { withRetries } from './backoff.ts';
import { readDocument } from './body.ts';
import { abortable, withDeadline } from './deadline.ts';
import type { Endpoint } from './endpoints.ts';
import { RegistryFailure, redactUrl } from './failure.ts';
import { type FollowedResponse, follow } from './follow.ts';
import { MAX_DOCUMENT_BYTES, type RegistryLimits } from './limits.ts';
import type { SchemeProbe } from './scheme.ts';
import type { Transport, TransportResponse } from './transport.ts';

/** One repository at one endpoint, as one pull sees it. Failures are RegistryFailures without secrets. */
export interface EndpointClient {
  readonly endpoint: Endpoint;
  /** A small answer, read to its end, tried again where that may help. */
  document(
    path: string,
    accept: string,
    signal: AbortSignal,
  ): Promise<{ headers: TransportResponse['headers']; bytes: Buffer }>;
  /** What it is now, by the registry's word; undefined where the registry does not say. Tried again as above. */
  digestOf(path: string, accept: string, signal: AbortSignal): Promise<string | undefined>;
  /** The start of a large one, from a byte on. One try; the answer's status is 200 or 206. */
  open(path: string, offset: number, signal: AbortSignal): Promise<{ what: string; response: TransportResponse }>;
  readonly scrub: (text: string) => string;
}

export interface EndpointDeps {
  transport: Transport;
  probe: SchemeProbe;
  limits: RegistryLimits;
  credentials: (host: string) => Promise<RegistryCredentials | undefined>;
}

export function createEndpointClient(endpoint: Endpoint, deps: EndpointDeps): EndpointClient {
  const { transport, probe, limits } = deps;
  const attempts = endpoint.isMirror ? limits.mirrorAttempts : limits.attempts;
  let state: Promise<{ base: URL; authorizer: Authorizer }> | undefined;
  let scrub = (text: string) => text;

  async function connect(): Promise<{ base: URL; authorizer: Authorizer }> {
    // Bounded by itself: the request that came first may be given up while others wait for the same answer.
    const base = await probe.baseOf(endpoint.address, endpoint.scheme, new AbortController().signal);
    const credentials = endpoint.credentials ?? (await deps.credentials(endpoint.host));
    const { repository } = endpoint;
    const authorizer = createAuthorizer({ transport, limits, registry: base, repository, credentials });
    scrub = authorizer.scrub;
    return { base, authorizer };
  }

  function connected(signal: AbortSignal): Promise<{ base: URL; authorizer: Authorizer }> {
    state ??= connect().catch((error: unknown) => {
      state = undefined;
      throw error;
    });
    return abortable(state, signal);
  }

  async function request(
    path: string,
    headers: Record<string, string>,
    signal: AbortSignal,
    method: 'GET' | 'HEAD' = 'GET',
  ): Promise<FollowedResponse> {
    const { base, authorizer } = await connected(signal);
    const url = new URL(`/v2/${endpoint.repository}/${path}`, base);
    const what = `${method} ${redactUrl(url)}`;
    const tried = await authorizer.current(signal);
    const first = await follow(transport, url, { method, headers, authorization: tried, signal });
    // A redirect's target knows nothing of the registry's credentials, and must not ask for them.
    if (first.response.statusCode !== 401 || first.redirected) return first;
    const refusal = await failureOfAnswer(what, first.response, signal);
    const authorization = await authorizer
      .answer(first.response.headers['www-authenticate'], tried, signal)
      .catch((error) => {
        throw isBareDenial(error)
          ? new RegistryFailure('denied', `${refusal.message} (${error.message})`, refusal)
          : error;
      });
    return follow(transport, url, { method, headers, authorization, signal });
  }

  async function answered(path: string, headers: Record<string, string>, ok: readonly number[], signal: AbortSignal) {
    const { url, response } = await request(path, headers, signal);
    const what = `GET ${redactUrl(url)}`;
    if (ok.includes(response.statusCode)) return { what, response };
    throw await failureOfAnswer(what, response, signal);
  }

  async function scrubbed<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      for (let inner = error; inner instanceof RegistryFailure; inner = inner.cause) {
        inner.message = scrub(inner.message);
        // Logs show it, and it begins with the message as it first was.
        if (inner.stack !== undefined) inner.stack = scrub(inner.stack);
      }
      throw error;
    }
  }

  return {
    endpoint,
    scrub: (text) => scrub(text),
    document: (path, accept, signal) =>
      scrubbed(() =>
        withRetries(attempts, limits, signal, () =>
          withDeadline(`GET ${path} at ${endpoint.address}`, limits.documentMs, signal, async (within) => {
            const { what, response } = await answered(path, { accept }, [200], within);
            return { headers: response.headers, bytes: await readDocument(what, response, MAX_DOCUMENT_BYTES, within) };
          }),
        ),
      ),
    digestOf: (path, accept, signal) =>
      scrubbed(() =>
        withRetries(attempts, limits, signal, () =>
          withDeadline(`HEAD ${path} at ${endpoint.address}`, limits.documentMs, signal, async (within) => {
            const { url, response } = await request(path, { accept }, within, 'HEAD');
            if (response.statusCode !== 200) throw await failureOfAnswer(`HEAD ${redactUrl(url)}`, response, within);
            await response.body.dump();
            const digest = response.headers['docker-content-digest'];
            return typeof digest === 'string' ? digest : undefined;
          }),
        ),
      ),
    open: (path, offset, signal) =>
      scrubbed(() =>
        offset === 0
          ? answered(path, {}, [200], signal)
          : answered(path, { range: `bytes=${offset}-` }, [200, 206], signal),
      ),
  };
}

/** What the authorizer says when it has nothing to offer; it does not know the request. */
function isBareDenial(error: unknown): error is RegistryFailure {
  return error instanceof RegistryFailure && error.kind === 'denied' && error.status === undefined;
}
