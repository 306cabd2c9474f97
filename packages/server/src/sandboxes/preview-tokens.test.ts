import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { newLinkToken, PREVIEW_TOKEN, sameSecret, sandboxCookie, sandboxToken } from './preview-tokens.ts';

const secrets = (key: string) => ({ derive: (purpose: string) => createHmac('sha256', key).update(purpose).digest() });

test('a sandbox has one token, which fits into a host name and is nobody else’s', () => {
  const token = sandboxToken(secrets('key'), 'a');
  expect(token).toMatch(PREVIEW_TOKEN);
  expect(`65535-${token}`.length).toBeLessThanOrEqual(63);
  expect(sandboxToken(secrets('key'), 'a')).toBe(token);
  const others = [
    sandboxToken(secrets('key'), 'b'),
    sandboxToken(secrets('other'), 'a'),
    sandboxCookie(secrets('key'), 'a'),
  ];
  expect(new Set([token, ...others]).size).toBe(4);
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
