import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { startTestApi, type TestApi } from '../../test-support/test-api.ts';

let api: TestApi;
let organizationId: string;
let key: string;
beforeAll(async () => {
  api = await startTestApi();
}, 60_000);
afterAll(() => api?.stop(), 60_000);
beforeEach(async () => {
  organizationId = await api.addOrganization();
  key = await api.addKey(organizationId);
});

const create = (body: object, as = key) => api.ask('POST', '/api/snapshots', { key: as, body });
async function audited(query = '', as = key) {
  await api.audit.flush();
  return api.ask('GET', `/api/audit/organizations/${organizationId}${query}`, { key: as });
}

it('says who asked for what, from where, and what came of it', async () => {
  const made = await api.ask('POST', '/api/snapshots', {
    key,
    body: { name: 'team/app:1', imageName: 'alpine:3.21', cpu: 2 },
    headers: { 'user-agent': 'sdk-python/1', 'x-daytona-source': 'sdk-python' },
  });
  await api.ask('DELETE', '/api/snapshots/nothing', { key });
  const { status, body } = await audited();
  expect(status).toBe(200);
  expect(body).toMatchObject({ total: 2, page: 1, totalPages: 1 });
  expect(body.nextToken).toBeUndefined();
  expect(body.items).toMatchObject([
    {
      action: 'delete',
      targetId: 'nothing',
      statusCode: 404,
      errorMessage: 'Snapshot with ID or name nothing not found',
    },
    {
      organizationId,
      action: 'create',
      targetType: 'snapshot',
      targetId: made.body.id,
      statusCode: 200,
      ipAddress: '127.0.0.1',
      userAgent: 'sdk-python/1',
      source: 'sdk-python',
      metadata: { name: 'team/app:1', imageName: 'alpine:3.21', cpu: 2 },
    },
  ]);
  expect(key.startsWith(body.items[1].actorApiKeyPrefix)).toBe(true);
  expect(key.endsWith(body.items[1].actorApiKeySuffix)).toBe(true);
});

it('keeps no passwords, and survives what no database can store', async () => {
  const registry = { name: 'mine', url: 'registry.example', username: 'u', password: 'very-secret' };
  await api.ask('POST', '/api/docker-registry', { key, body: registry });
  await create({ name: 'a\0b', imageName: ['not', 'text'], entrypoint: ['\ud800'] });
  const { text, body } = await audited();
  expect(text).not.toContain('very-secret');
  expect(body.items).toMatchObject([{ statusCode: 400, metadata: { name: 'a\u{fffd}b' } }, { action: 'create' }]);
});

it('does not tell of reading, nor of requests without a good key', async () => {
  await api.ask('GET', '/api/snapshots', { key });
  await api.ask('POST', '/api/snapshots', { key: null, body: {} });
  expect((await audited()).body.items).toEqual([]);
});

it('is read page by page, by a token that later rows do not move, and by filters', async () => {
  for (const name of ['a', 'b', 'c']) await create({ name, imageName: 'alpine:3.21' });
  const first = await audited('?limit=2');
  await create({ name: 'd', imageName: 'alpine:3.21' });
  const second = await audited(`?limit=2&nextToken=${first.body.nextToken}`);
  const names = [...first.body.items, ...second.body.items].map((item) => item.metadata.name);
  expect(names).toEqual(['c', 'b', 'a']);
  await create({ name: 'a', imageName: 'alpine:3.21' });
  expect((await audited('?statusCode[eq]=409')).body.items).toHaveLength(1);
  expect((await audited('?statusCode[not]=409&action=create')).body.total).toBe(4);
  expect((await audited('?action[in]=delete,activate')).body.items).toEqual([]);
  expect((await audited('?from=2100-01-01T00:00:00Z')).body.items).toEqual([]);
  expect((await audited('?nextToken=nonsense')).status).toBe(400);
  for (const query of ['?action[like]=a', '?createdAt[gt]=2100-01-01T00:00:00Z', '?nothing[x]=1']) {
    const { status, body } = await audited(query);
    expect([status, body.message], query).toEqual([400, expect.stringContaining('is no filter')]);
  }
});

it('is for keys that may read it, of their own organization', async () => {
  expect((await audited('', await api.addKey(organizationId, { permissions: ['write:snapshots'] }))).status).toBe(403);
  expect((await audited('', await api.addKey(await api.addOrganization()))).status).toBe(404);
  const { body } = await api.ask('GET', '/api/audit/scenarios', { key });
  expect(body.targets).toContainEqual(expect.objectContaining({ targetType: 'snapshot' }));
});
