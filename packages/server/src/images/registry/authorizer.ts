import { z } from 'zod';
import type { RegistryCredentials } from '../types.ts';
import { failureOfAnswer } from './answer.ts';
import { readDocument } from './body.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import { abortable, withDeadline } from './deadline.ts';
import { RegistryFailure, redactUrl } from './failure.ts';
import { follow } from './follow.ts';
import type { RegistryLimits } from './limits.ts';
import type { Transport } from './transport.ts';

const MAX_TOKEN_BYTES = 256 * 1024;
/** What the token specification says when the server does not. */
const DEFAULT_LIFETIME_S = 60;
/** A token this close to its end is not used for another request. */
const MARGIN_MS = 5_000;

const tokenAnswer = z
  .object({
    token: z.string().optional(),
    access_token: z.string().optional(),
    expires_in: z.number().nonnegative().optional(),
  })
  .transform(({ token, access_token, expires_in }) => ({
    token: token ?? access_token ?? '',
    lifetimeMs: (expires_in ?? DEFAULT_LIFETIME_S) * 1000,
  }))
  // It becomes a header.
  .refine(({ token }) => /^[\x21-\x7e]+$/.test(token), 'no token in it');

/**
 * Authorization for one repository of one registry with the credentials of one pull. Nothing of it is shared between
 * pulls: a token that one organization's credentials gave must not open the registry for another.
 */
export interface Authorizer {
  /** The header to send, from what was learned before. */
  current(signal: AbortSignal): Promise<string | undefined>;
  /** Answers a 401. Raises `denied` when there is no other header to try than `tried`. */
  answer(header: string | string[] | undefined, tried: string | undefined, signal: AbortSignal): Promise<string>;
  /** Takes everything secret out of a text. */
  scrub(text: string): string;
}

interface AuthorizerOptions {
  transport: Transport;
  limits: RegistryLimits;
  registry: URL;
  repository: string;
  credentials: RegistryCredentials | undefined;
}

export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const { credentials, registry, repository, transport, limits } = options;
  const basic = credentials && basicHeader(credentials);
  const secrets = new Set<string>(credentials && basic ? [credentials.password, basic.slice('Basic '.length)] : []);
  let known: { header: string; expiresAt: number; challenge: Challenge } | undefined;
  let fetching: Promise<string> | undefined;

  /** Bounded by its own deadline alone: the one who asked first may leave while others wait for the same token. */
  async function fetchToken(challenge: Challenge): Promise<string> {
    const url = tokenUrl(challenge, registry, repository, transport);
    const what = `GET ${redactUrl(url)}`;
    const parsed = await withDeadline(what, limits.documentMs, new AbortController().signal, async (signal) => {
      // The realm counts as a redirect: a public registry must not make us ask internal hosts.
      const publicOnly = !transport.isInternal(registry);
      const headers = { accept: 'application/json' };
      const { response } = await follow(transport, url, { headers, authorization: basic, signal, publicOnly });
      if (response.statusCode !== 200) throw await failureOfAnswer(what, response, signal);
      return tokenAnswer.safeParse(parseJson(await readDocument(what, response, MAX_TOKEN_BYTES, signal)));
    });
    if (!parsed.success) throw new RegistryFailure('response', `${what}: the token server's answer has no token`);
    const header = `Bearer ${parsed.data.token}`;
    secrets.add(parsed.data.token);
    known = { header, challenge, expiresAt: performance.now() + parsed.data.lifetimeMs - MARGIN_MS };
    return header;
  }

  /** Layers are fetched in parallel; when their token ends, one of them asks for the next. */
  function shareToken(challenge: Challenge, signal: AbortSignal): Promise<string> {
    fetching ??= fetchToken(challenge).finally(() => {
      fetching = undefined;
    });
    return abortable(fetching, signal);
  }

  return {
    async current(signal) {
      if (known === undefined) return undefined;
      return performance.now() < known.expiresAt ? known.header : shareToken(known.challenge, signal);
    },
    async answer(header, tried, signal) {
      if (known !== undefined && known.header !== tried && performance.now() < known.expiresAt) return known.header;
      const challenges = parseChallenges(header);
      const bearer = challenges.find(({ scheme, params }) => scheme === 'bearer' && params.has('realm'));
      if (bearer !== undefined) return shareToken(bearer, signal);
      const challenge = challenges.find(({ scheme }) => scheme === 'basic');
      if (challenge === undefined || basic === undefined || basic === tried) {
        throw new RegistryFailure(
          'denied',
          basic === undefined ? 'credentials are needed' : 'the credentials are refused',
        );
      }
      known = { header: basic, challenge, expiresAt: Number.POSITIVE_INFINITY };
      return basic;
    },
    scrub: (text) =>
      [...secrets].reduce((clean, secret) => (secret === '' ? clean : clean.replaceAll(secret, '***')), text),
  };
}

function basicHeader({ username, password }: RegistryCredentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function tokenUrl(challenge: Challenge, registry: URL, repository: string, transport: Transport): URL {
  const realm = challenge.params.get('realm') ?? '';
  const url = URL.canParse(realm) ? new URL(realm) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw new RegistryFailure('response', `the registry ${registry.host} names a token server that is no URL`);
  }
  // Credentials go there: in the clear only where they would go to the registry in the clear as well.
  if (url.protocol === 'http:' && !(transport.mayBeInsecure(url) && transport.mayBeInsecure(registry))) {
    throw new RegistryFailure(
      'policy',
      `the registry ${registry.host} names a token server without https (${redactUrl(url)})`,
    );
  }
  url.username = '';
  url.password = '';
  url.hash = '';
  const service = challenge.params.get('service');
  if (service !== undefined) url.searchParams.set('service', service);
  url.searchParams.set('scope', `repository:${repository}:pull`);
  return url;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
