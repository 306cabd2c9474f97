import type { IncomingMessage } from 'node:http';
import { namedByConnection, pairs, type RawHeaders } from './request-headers.ts';

export interface Relaying {
  port: number;
  prefix: string;
  hide: { token: string; sandboxId: string } | undefined;
  /** Sets our cookie. */
  setCookie: string | undefined;
}

const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'transfer-encoding',
  'upgrade',
  // Would lead the browser past us.
  'alt-svc',
  // Says that an answer is ours.
  'x-darkroom-preview',
]);

/** On the server's own origin, a program may not speak for the whole of it. */
const OF_THE_ORIGIN = new Set(['clear-site-data', 'service-worker-allowed', 'strict-transport-security']);

/**
 * Below a path, programs share an origin with each other and with the server's documentation. Without an origin of its own, what
 * they show can read nothing of that.
 */
const SANDBOX_POLICY =
  'sandbox allow-downloads allow-forms allow-modals allow-popups allow-popups-to-escape-sandbox allow-scripts';

/** What the client gets of the head of a program's answer. */
export function responseHeaders(
  answer: Pick<IncomingMessage, 'rawHeaders' | 'headers'>,
  relaying: Relaying,
): RawHeaders {
  const { port, prefix, hide } = relaying;
  const dropped = namedByConnection(answer.headers.connection);
  const named = (value: string) =>
    hide === undefined
      ? value
      : value
          .replaceAll(`${port}-${hide.sandboxId}.`, `${port}-${hide.token}.`)
          .replaceAll(`/preview/${hide.sandboxId}/${port}`, `/preview/${hide.token}/${port}`);
  const result: RawHeaders = [];
  for (const [name, value] of pairs(answer.rawHeaders)) {
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || dropped.has(lower)) continue;
    if (prefix !== '' && OF_THE_ORIGIN.has(lower)) continue;
    result.push(name, translated(lower, named(value), prefix));
  }
  if (prefix !== '') result.push('Content-Security-Policy', SANDBOX_POLICY);
  if (relaying.setCookie !== undefined) result.push('Set-Cookie', relaying.setCookie);
  return result;
}

function translated(name: string, value: string, prefix: string): string {
  if (name === 'set-cookie') return ownCookie(value, prefix);
  if (name === 'location' || name === 'content-location') return below(value, prefix);
  return value;
}

/** A cookie for this program alone: not for its siblings under the same domain or on the same origin. */
function ownCookie(cookie: string, prefix: string): string {
  const [pair = '', ...attributes] = cookie.split(';');
  const kept = attributes.filter((attribute) => !/^\s*domain\s*(=|$)/i.test(attribute));
  if (prefix === '') return [pair, ...kept].join(';');
  const paths = kept.filter((attribute) => /^\s*path\s*=/i.test(attribute));
  // The last one counts; one that is no absolute path counts as none (RFC 6265, 5.2.4).
  const path =
    paths
      .at(-1)
      ?.replace(/^[^=]*=\s*/, '')
      .trim() ?? '';
  const others = kept.filter((attribute) => !/^\s*path\s*(=|$)/i.test(attribute));
  return [pair, ...others, ` Path=${prefix}${path.startsWith('/') ? path : '/'}`].join(';');
}

/** A path on the program's own host, as it is called from outside. */
function below(location: string, prefix: string): string {
  if (prefix === '' || !/^\/(?!\/)/.test(location)) return location;
  return location === prefix || location.startsWith(`${prefix}/`) ? location : prefix + location;
}
