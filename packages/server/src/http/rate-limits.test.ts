import { afterAll, beforeAll, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../test-support/test-api.ts';
import { RateLimiter } from './rate-limit.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ authenticated: 3, 'failed-auth': 2, anonymous: 2 });
}, 60_000);
afterAll(() => api?.stop());

it('counts all keys of an organization together, says so in headers, and refuses with 429', async () => {
  const organizationId = await api.addOrganization();
  const keys = [await api.addKey(organizationId), await api.addKey(organizationId)];
  const ask = (index: number) => api.ask('GET', '/api/regions', { key: keys[index % 2] ?? null });
  const answers = [await ask(0), await ask(1), await ask(0), await ask(1)];
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429]);
  expect(answers.map(({ headers }) => headers['x-ratelimit-remaining-authenticated'])).toEqual(['2', '1', '0', '0']);
  const last = answers.at(-1);
  expect(last?.headers['x-ratelimit-limit-authenticated']).toBe('3');
  expect(Number(last?.headers['retry-after'])).toBeGreaterThan(0);
  expect(last?.headers['retry-after-authenticated']).toBe(last?.headers['retry-after']);
  expect(last?.headers['x-ratelimit-reset-authenticated']).toBe(last?.headers['retry-after']);
  expect(last?.body).toMatchObject({ statusCode: 429, error: 'Too Many Requests' });

  const others = await api.addKey(await api.addOrganization());
  expect((await api.ask('GET', '/api/regions', { key: others })).status).toBe(200);
});

it('refuses those who guess keys, and still lets in a good one from the same address', async () => {
  const guess = () => api.ask('GET', '/api/regions', { key: `dtn_${'1'.repeat(64)}` });
  expect([(await guess()).status, (await guess()).status, (await guess()).status]).toEqual([401, 401, 429]);
  const key = await api.addKey(await api.addOrganization());
  expect((await api.ask('GET', '/api/regions', { key })).status).toBe(200);
});

it('counts requests without a key by address', async () => {
  const ask = () => api.ask('GET', '/api/config', { key: null });
  expect([(await ask()).status, (await ask()).status, (await ask()).status]).toEqual([200, 200, 429]);
});

it('begins anew when the minute is over', () => {
  let now = 0;
  const limits = { anonymous: 1, authenticated: 1, 'sandbox-create': 1, 'sandbox-lifecycle': 1, 'failed-auth': 1 };
  const limiter = new RateLimiter(limits, () => now);
  expect(limiter.hit('anonymous', 'a')).toEqual({ limit: 1, remaining: 0, resetSeconds: 60, exceeded: false });
  now = 30_000;
  expect(limiter.hit('anonymous', 'a')).toMatchObject({ exceeded: true, resetSeconds: 30 });
  expect(limiter.hit('anonymous', 'b').exceeded).toBe(false);
  now = 60_000;
  expect(limiter.hit('anonymous', 'a').exceeded).toBe(false);
});
