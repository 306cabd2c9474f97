import type { IncomingHttpHeaders } from 'node:http';
import { looksLikeKey } from '../../tenancy/api-key.ts';

/** The names that Daytona's clients know. */
export const TOKEN_HEADER = 'x-daytona-preview-token';
export const KEY_PARAMETER = 'DAYTONA_SANDBOX_AUTH_KEY';
export const COOKIE = 'daytona-sandbox-auth';

/** What a request shows of itself, not yet believed. */
export interface ShownCredentials {
  header: string[];
  query: string[];
  cookies: string[];
  /** Only what can be a key of this server: anything else is the program's own business. */
  key: string | undefined;
}

export function shownCredentials(headers: IncomingHttpHeaders, target: string): ShownCredentials {
  return {
    header: [headers[TOKEN_HEADER] ?? []].flat(),
    query: parametersOf(target)
      .filter(isKeyParameter)
      .map((parameter) => decoded(parameter.slice(parameter.indexOf('=') + 1))),
    cookies: cookiesOf(headers.cookie ?? '')
      .filter(isOwnCookie)
      .map((cookie) => cookie.slice(cookie.indexOf('=') + 1)),
    key: serverKey(headers.authorization),
  };
}

export function serverKey(authorization: string | undefined): string | undefined {
  const value = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
  return value !== undefined && looksLikeKey(value) ? value : undefined;
}

/** A path or URL without the key, every other byte as it was. */
export function withoutKey(target: string): string {
  const parameters = parametersOf(target);
  if (!parameters.some(isKeyParameter)) return target;
  const kept = parameters.filter((parameter) => !isKeyParameter(parameter)).join('&');
  const at = target.indexOf('?');
  const fragment = target.indexOf('#', at);
  return target.slice(0, at) + (kept === '' ? '' : `?${kept}`) + (fragment < 0 ? '' : target.slice(fragment));
}

/** A Cookie header without ours; undefined when nothing is left. */
export function withoutOwnCookie(header: string): string | undefined {
  const kept = cookiesOf(header).filter((cookie) => !isOwnCookie(cookie));
  return kept.length === 0 ? undefined : kept.join('; ');
}

function parametersOf(target: string): string[] {
  const at = target.indexOf('?');
  if (at < 0) return [];
  return (target.slice(at + 1).split('#', 1)[0] ?? '').split('&');
}

function isKeyParameter(parameter: string): boolean {
  const [name = ''] = parameter.split('=', 1);
  return decoded(name) === KEY_PARAMETER;
}

const cookiesOf = (header: string) =>
  header
    .split(';')
    .map((cookie) => cookie.trim())
    .filter((cookie) => cookie !== '');

const isOwnCookie = (cookie: string) => (cookie.split('=', 1)[0] ?? '').trim() === COOKIE;

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}
