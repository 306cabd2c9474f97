import type { IncomingMessage } from 'node:http';
import { serverKey, TOKEN_HEADER, withoutKey, withoutOwnCookie } from './credentials.ts';

/** Names and values in turn, as Node writes them. */
export type RawHeaders = string[];

export interface Forwarding {
  /** As the client wrote it: what it asked for. */
  host: string;
  protocol: 'http' | 'https';
  prefix: string;
  /** The token of a signed link that stands in host names and paths, and the sandbox's id that the program sees there. */
  hide: { token: string; sandboxId: string } | undefined;
  /** Passes on the wish for another protocol. */
  upgrade: boolean;
}

/** For one connection only (RFC 9110, 7.6.1), or about how we and the program talk to each other. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/** Ours to say, or a secret of ours, or a word to us. */
const REPLACED = new Set([
  'host',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-prefix',
  'x-forwarded-proto',
  TOKEN_HEADER,
  'x-daytona-skip-preview-warning',
  'x-daytona-skip-last-activity-update',
  'x-daytona-disable-cors',
]);

const HEAD_ONLY = new Set(['authorization', 'content-length', 'content-type', 'cookie', 'set-cookie', 'trailer']);

/** What the program in the sandbox gets of a request's head. */
export function requestHeaders(
  request: Pick<IncomingMessage, 'rawHeaders' | 'headers' | 'method'> & { remoteAddress: string | undefined },
  forwarding: Forwarding,
): RawHeaders {
  const { headers } = request;
  const hide = (value: string) =>
    forwarding.hide === undefined ? value : value.replaceAll(forwarding.hide.token, forwarding.hide.sandboxId);
  const dropped = namedByConnection(headers.connection);
  const result: RawHeaders = ['Host', hide(forwarding.host)];
  for (const [name, value] of pairs(request.rawHeaders)) {
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || REPLACED.has(lower) || dropped.has(lower)) continue;
    const kept = passedOn(lower, value);
    if (kept !== undefined) result.push(name, hide(kept));
  }
  const from = [headers['x-forwarded-for'] ?? [], request.remoteAddress ?? []].flat().join(', ');
  if (from !== '') result.push('X-Forwarded-For', from);
  result.push('X-Forwarded-Host', hide(forwarding.host), 'X-Forwarded-Proto', forwarding.protocol);
  if (forwarding.prefix !== '') result.push('X-Forwarded-Prefix', hide(forwarding.prefix));
  if (/\btrailers\b/i.test(String(headers.te ?? ''))) result.push('TE', 'trailers');
  // Said anew, because the body is framed anew; without a word about it, a body would be sent in no frame at all.
  if (headers['transfer-encoding'] !== undefined) result.push('Transfer-Encoding', 'chunked');
  else if (headers['content-length'] === undefined && /^(POST|PUT|PATCH)$/.test(request.method ?? '')) {
    result.push('Content-Length', '0');
  }
  result.push(...connectionHeaders(headers.upgrade, forwarding.upgrade));
  return result;
}

function connectionHeaders(wish: string | undefined, passOn: boolean): RawHeaders {
  return passOn && wish !== undefined ? ['Connection', 'Upgrade', 'Upgrade', wish] : ['Connection', 'close'];
}

/** What comes behind a body. Nothing that belongs into a head. */
export function trailersOf(raw: readonly string[]): [string, string][] {
  return [...pairs(raw)].filter(([name]) => {
    const lower = name.toLowerCase();
    return !HOP_BY_HOP.has(lower) && !REPLACED.has(lower) && !HEAD_ONLY.has(lower);
  });
}

/** Undefined where nothing may be left of it. */
function passedOn(name: string, value: string): string | undefined {
  if (name === 'cookie') return withoutOwnCookie(value);
  if (name === 'authorization') return serverKey(value) === undefined ? value : undefined;
  // A page that was opened by a URL with the key in it names that URL.
  if (name === 'referer') return withoutKey(value);
  return value;
}

export function* pairs(raw: readonly string[]): Generator<[string, string]> {
  for (let at = 0; at + 1 < raw.length; at += 2) yield [raw[at] ?? '', raw[at + 1] ?? ''];
}

/** A head may declare more of its fields to be for one connection only; never the ones that frame the message or say whose it is. */
export function namedByConnection(connection: string | undefined): Set<string> {
  const named = new Set((connection ?? '').split(',').map((name) => name.trim().toLowerCase()));
  for (const name of ['content-length', 'host', 'cookie', 'authorization', 'content-type']) named.delete(name);
  return named;
}
