import type { IncomingMessage, ServerResponse } from 'node:http';
import { TOKEN_HEADER } from './credentials.ts';

/**
 * A browser asks before it sends a page's request with our header, and shows no credential when it asks; the program would never
 * hear of it. What comes of a yes is that the request is sent: the token still has to be right, cookies do not come with it, and
 * whether the page may read the answer is for the program to say.
 */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
  const wanted = String(headers['access-control-request-headers'] ?? '').toLowerCase();
  const names = wanted.split(',').map((name) => name.trim());
  return (
    method === 'OPTIONS' &&
    headers.origin !== undefined &&
    headers['access-control-request-method'] !== undefined &&
    (names.includes(TOKEN_HEADER) || names.includes('authorization'))
  );
}

export function answerPreflight({ headers }: IncomingMessage, response: ServerResponse): void {
  response.writeHead(204, {
    'Access-Control-Allow-Origin': headers.origin ?? '',
    'Access-Control-Allow-Methods': headers['access-control-request-method'] ?? '',
    'Access-Control-Allow-Headers': headers['access-control-request-headers'] ?? '',
    'Access-Control-Max-Age': '600',
    Vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers',
  });
  response.end();
}
