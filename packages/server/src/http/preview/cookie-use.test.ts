import { expect, test } from 'vitest';
import { mayUseCookie } from './cookie-use.ts';

const OWN = new Set(['3000-a.preview.test', '8000-a.preview.test']);
const may = (headers: Record<string, string>, method = 'GET') =>
  mayUseCookie({ headers, method }, (host) => OWN.has(host));

const visit = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };

test.each<[string, Record<string, string>, string?]>([
  ['somebody types the address', { ...visit, 'sec-fetch-site': 'none' }],
  ['a page asks its own server', { origin: 'https://3000-a.preview.test', 'sec-fetch-site': 'same-origin' }, 'POST'],
  ['its own server, and the browser is an old one', {}],
  ['another port of its sandbox', { origin: 'https://8000-a.preview.test', 'sec-fetch-site': 'same-site' }, 'PUT'],
  ['an image of another port', { referer: 'https://8000-a.preview.test/x', 'sec-fetch-site': 'same-site' }],
  ['somebody follows a link', { ...visit, referer: 'https://chat.test/', 'sec-fetch-site': 'cross-site' }],
])('counts when %s', (_what, headers, method) => {
  expect(may(headers, method)).toBe(true);
});

test.each<[string, Record<string, string>, string?]>([
  ['asks', { origin: 'https://3000-b.preview.test', 'sec-fetch-site': 'same-site' }],
  ['opens a WebSocket', { origin: 'https://3000-b.preview.test' }],
  ['shows an image', { referer: 'https://3000-b.preview.test/', 'sec-fetch-site': 'same-site' }],
  ['shows an image and does not say where', { 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors' }],
  ['has no origin', { origin: 'null', 'sec-fetch-site': 'cross-site' }],
  ['sends a form', { ...visit, origin: 'https://3000-b.preview.test', 'sec-fetch-site': 'same-site' }, 'POST'],
  ['puts it into a frame', { ...visit, 'sec-fetch-dest': 'iframe', 'sec-fetch-site': 'same-site' }],
  ['is called almost like it', { origin: 'https://3000-a.preview.test.evil.test' }],
  ['names nonsense', { origin: '3000-a.preview.test' }],
])('does not count when a page of another sandbox %s', (_what, headers, method) => {
  expect(may(headers, method)).toBe(false);
});
