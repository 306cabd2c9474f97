import { isIP } from 'node:net';
import { classifyAddress } from '../images/registry/address.ts';
import { invalidRequest } from '../platform/errors.ts';

/** Says at once what every delivery would fail of. Names are looked up, and judged, at each connection. */
export function checkUrl(text: string, allowInternal: boolean): void {
  const url = URL.parse(text);
  if (url === null) throw invalidRequest('url must be an address such as https://example.com/hook');
  if (url.protocol !== 'https:' && !(allowInternal && url.protocol === 'http:')) {
    throw invalidRequest('url must be https');
  }
  if (url.username !== '' || url.password !== '') throw invalidRequest('url must have no user and password in it');
  const host = url.hostname.replace(/^\[|\]$/g, '');
  if (isIP(host) === 0) return;
  const kind = classifyAddress(host);
  if (kind === 'public' || (kind === 'internal' && allowInternal)) return;
  const message = `url leads to ${host}, and webhooks are not sent to such addresses`;
  if (kind !== 'internal') throw invalidRequest(message);
  throw invalidRequest(message, { hint: 'Where that is wanted, the operator sets webhooks.allowInternal.' });
}
