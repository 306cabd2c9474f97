import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { createUploadKeys } from '../../tenancy/upload-credentials.ts';
import { authenticate } from './authenticate.ts';
import { signedHead } from './testing/raw-client.ts';

const key = randomBytes(32);
const keys = createUploadKeys({ derive: () => key });
const organizationId = '2f6e0d0e-0000-4000-8000-000000000001';
const request = { method: 'GET', path: `/darkroom-contexts/${organizationId}` };
const signed = (url: string) => ({
  method: 'GET',
  url: request.path,
  headers: signedHead(url, keys.issue(organizationId), request).headers,
});

test('who signs for the public name is known behind a proxy that puts another one in its place', () => {
  const ours = signed('https://darkroom.example.test');
  const behind = { ...ours, headers: { ...ours.headers, host: '10.0.0.5:3986' } };
  expect(authenticate(keys, behind, 'darkroom.example.test')).toMatchObject({ organizationId });
  expect(authenticate(keys, ours, 'darkroom.example.test')).toMatchObject({ organizationId });
  expect(() => authenticate(keys, behind, undefined)).toThrow('does not match');
  expect(() => authenticate(keys, behind, 'other.example.test')).toThrow('does not match');
});

test('credentials that have run out are told so', () => {
  const old = keys.issue(organizationId, Date.now() - 3_600_001);
  const { headers } = signedHead('http://x', old, request);
  expect(() => authenticate(keys, { method: 'GET', url: request.path, headers }, undefined)).toThrow('has expired');
});
