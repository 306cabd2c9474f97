import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { createUploadKeys } from './upload-credentials.ts';

const boxOf = (key: Buffer) => ({ derive: () => key });
const keys = createUploadKeys(boxOf(randomBytes(32)));
const organizationId = '2f6e0d0e-0000-4000-8000-000000000001';
const HOUR = 3600_000;

test('credentials are their organization’s for an hour, also after a restart', () => {
  const key = randomBytes(32);
  const issued = createUploadKeys(boxOf(key)).issue(organizationId, 1000);
  const later = createUploadKeys(boxOf(key));
  expect(later.identify(issued.accessKey, issued.sessionToken, HOUR)).toEqual({
    organizationId,
    secret: issued.secret,
  });
  expect(later.identify(issued.accessKey, issued.sessionToken, 1000 + HOUR)).toBe('expired');
  expect(issued.expiresAt).toEqual(new Date(1000 + HOUR));
});

test('a token cannot be changed, mixed with another or made elsewhere', () => {
  const one = keys.issue(organizationId);
  const two = keys.issue(organizationId);
  expect(one.secret).not.toBe(two.secret);
  expect(keys.identify(two.accessKey, one.sessionToken)).toBe('invalid');
  const other = one.sessionToken.replace(organizationId, organizationId.replace(/1$/, '2'));
  expect(keys.identify(one.accessKey, other)).toBe('invalid');
  const stranger = createUploadKeys(boxOf(randomBytes(32))).issue(organizationId);
  expect(keys.identify(stranger.accessKey, stranger.sessionToken)).toBe('invalid');
  for (const token of ['', '.', 'a.b.c.d', one.sessionToken.slice(0, -1), `${one.sessionToken}A`]) {
    expect(keys.identify(one.accessKey, token)).toBe('invalid');
  }
});

test('none of it stands in another part of it', () => {
  const { accessKey, secret, sessionToken } = keys.issue(organizationId);
  expect(accessKey).toMatch(/^DARKROOM[0-9A-F]{12}$/);
  expect(sessionToken).not.toContain(secret);
});
