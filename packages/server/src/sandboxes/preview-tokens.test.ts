import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { newLinkToken, PREVIEW_TOKEN, portCookie, portToken, sameSecret } from './preview-tokens.ts';

const secrets = (key: string) => ({ derive: (purpose: string) => createHmac('sha256', key).update(purpose).digest() });

test('a port of a sandbox has one token, which fits into a host name and opens no other port', () => {
  const token = portToken(secrets('key'), 'a', 80);
  expect(token).toMatch(PREVIEW_TOKEN);
  expect(`65535-${token}`.length).toBeLessThanOrEqual(63);
  expect(portToken(secrets('key'), 'a', 80)).toBe(token);
  const others = [
    portToken(secrets('key'), 'b', 80),
    portToken(secrets('key'), 'a', 1),
    portToken(secrets('other'), 'a', 80),
    portCookie(secrets('key'), 'a', 80),
  ];
  expect(new Set([token, ...others]).size).toBe(5);
});

test('tokens of links are chance', () => {
  const tokens = Array.from({ length: 1000 }, newLinkToken);
  expect(new Set(tokens).size).toBe(1000);
  for (const token of tokens) expect(token).toMatch(PREVIEW_TOKEN);
  expect(new Set(tokens.join('')).size).toBe(32);
});

test('secrets are the same or not, of whatever length', () => {
  expect(sameSecret('abc', 'abc')).toBe(true);
  for (const other of ['', 'ab', 'abcd', 'abd']) expect(sameSecret(other, 'abc')).toBe(false);
});
