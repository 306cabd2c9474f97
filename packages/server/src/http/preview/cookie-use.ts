import type { IncomingMessage } from 'node:http';

/**
 * Whether a browser's cookie of ours says anything. All previews below one domain are one site to a browser: it sends the cookie
 * of a preview also with what a page of another one asks for behind the back of whoever looks at it. That page may lead to the
 * preview, in a window of its own, and nothing else.
 */
export function mayUseCookie(
  { headers, method }: Pick<IncomingMessage, 'headers' | 'method'>,
  isOwnPage: (host: string) => boolean,
): boolean {
  const site = headers['sec-fetch-site'];
  const saysNothing = site === undefined || site === 'same-origin' || site === 'none';
  // Simple requests for images and the like name no origin, but mostly the page.
  const page = headers.origin ?? (saysNothing ? undefined : headers.referer);
  if (page === undefined && saysNothing) return true;
  const host = URL.parse(page ?? '')?.host;
  if (host !== undefined && host !== '' && isOwnPage(host)) return true;
  const isVisit = headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
  return isVisit && (method === 'GET' || method === 'HEAD');
}
