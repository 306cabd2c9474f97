import { apiKeySchema, dockerRegistrySchema, organizationSchema, organizationUsageSchema } from '@darkroom/contract';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { credentialsFor } from '../../tenancy/registries.ts';
import { type Method, startTestApi, type TestApi } from '../../test-support/test-api.ts';

let api: TestApi;
let organizationId: string;
let key: string;
beforeAll(async () => {
  api = await startTestApi();
}, 60_000);
afterAll(() => api?.stop());
beforeEach(async () => {
  organizationId = await api.addOrganization();
  key = await api.addKey(organizationId);
});

const ask = (method: Method, path: string, body?: unknown, as = key) =>
  api.ask(method, `/api/${path}`, { key: as, ...(body === undefined ? {} : { body }) });

describe('API keys', () => {
  it('are shown whole once, work at once, and stop working the moment they are deleted', async () => {
    const made = await ask('POST', 'api-keys', { name: 'ci/main', permissions: ['write:snapshots'] });
    expect(made.status).toBe(201);
    expect(made.body).toEqual({
      name: 'ci/main',
      value: expect.stringMatching(/^dtn_[0-9a-f]{64}$/),
      createdAt: expect.any(String),
      permissions: ['write:snapshots'],
      expiresAt: null,
    });
    const { value } = made.body;
    const current = await ask('GET', 'api-keys/current', undefined, value);
    expect(apiKeySchema.parse(current.body)).toMatchObject({
      name: 'ci/main',
      value: `dtn_${'*'.repeat(20)}${value.slice(-3)}`,
    });
    const { rows } = { rows: await api.db.selectFrom('api_keys').selectAll().execute() };
    expect(JSON.stringify(rows)).not.toContain(value);
    expect((await ask('DELETE', 'api-keys/ci%2Fmain')).status).toBe(204);
    expect((await ask('GET', 'api-keys/current', undefined, value)).status).toBe(401);
    expect((await ask('GET', 'api-keys/ci%2Fmain')).status).toBe(404);
  });

  it('are listed masked', async () => {
    await ask('POST', 'api-keys', { name: 'second', permissions: [], expiresAt: '2999-01-01T00:00:00+01:00' });
    const { body } = await ask('GET', 'api-keys');
    expect(body.map(({ name }: { name: string }) => name)).toEqual(['second', 'test']);
    expect(body[0].expiresAt).toBe('2998-12-31T23:00:00.000Z');
    expect(body.every(({ value }: { value: string }) => value.includes('*'.repeat(20)))).toBe(true);
  });

  it('cannot be given what the maker has not, nor be made without the permission to', async () => {
    const manager = await api.addKey(organizationId, { permissions: ['manage:api_keys'] });
    const more = await ask('POST', 'api-keys', { name: 'x', permissions: ['write:sandboxes'] }, manager);
    expect([more.status, more.body.message]).toEqual([403, expect.stringContaining('write:sandboxes')]);
    const reader = await api.addKey(organizationId, { permissions: ['write:snapshots'] });
    expect((await ask('POST', 'api-keys', { name: 'x', permissions: [] }, reader)).status).toBe(403);
    expect((await ask('GET', 'api-keys', undefined, reader)).status).toBe(403);
  });

  it.each([
    [{ name: 'test', permissions: [] }, 409],
    [{ name: '', permissions: [] }, 400],
    [{ name: 'x', permissions: ['write:everything'] }, 400],
    [{ name: 'x', permissions: [], expiresAt: 'tomorrow' }, 400],
    [{ name: 'x', permissions: [], expiresAt: '2001-01-01T00:00:00Z' }, 400],
  ])('%j gives %i', async (body, status) => {
    expect((await ask('POST', 'api-keys', body)).status).toBe(status);
  });
});

describe('private registries', () => {
  const REGISTRY = { name: 'ours', url: 'https://Registry.Example.com:5000/v2/', username: 'me', password: 's3cret' };

  it('keep their passwords to themselves and give them to pulls of their host', async () => {
    const made = await ask('POST', 'docker-registry', { ...REGISTRY, project: 'team', registryType: 'organization' });
    expect(made.status).toBe(201);
    expect(dockerRegistrySchema.parse(made.body)).toEqual(made.body);
    expect(made.text + (await ask('GET', 'docker-registry')).text).not.toContain('s3cret');
    const rows = await api.db.selectFrom('registries').selectAll().execute();
    expect(rows.map((row) => row.password_encrypted.toString('latin1')).join()).not.toContain('s3cret');
    const lookup = credentialsFor(api, organizationId);
    expect(await lookup('registry.example.com:5000')).toEqual({ username: 'me', password: 's3cret' });
    expect(await lookup('other.example.com')).toBeUndefined();
    expect(await credentialsFor(api, await api.addOrganization())('registry.example.com:5000')).toBeUndefined();
  });

  it('are changed in parts and deleted', async () => {
    const { body } = await ask('POST', 'docker-registry', REGISTRY);
    const changed = await ask('PATCH', `docker-registry/${body.id}`, {
      password: 'n3w',
      url: 'https://index.docker.io/v1/',
    });
    expect([changed.status, changed.body.username]).toEqual([200, 'me']);
    expect(await credentialsFor(api, organizationId)('docker.io')).toEqual({ username: 'me', password: 'n3w' });
    expect((await ask('DELETE', `docker-registry/${body.id}`)).status).toBe(204);
    for (const method of ['GET', 'PATCH', 'DELETE'] as const) {
      expect((await ask(method, `docker-registry/${body.id}`, method === 'PATCH' ? {} : undefined)).status).toBe(404);
    }
  });

  it('do not follow to another host without their password', async () => {
    const { body } = await ask('POST', 'docker-registry', REGISTRY);
    const change = (part: object) => ask('PATCH', `docker-registry/${body.id}`, part);
    expect((await change({ url: 'https://elsewhere.example.com' })).status).toBe(400);
    expect((await change({ url: 'registry.example.com:5000/team', username: 'us' })).status).toBe(200);
    expect(await credentialsFor(api, organizationId)('elsewhere.example.com')).toBeUndefined();
  });

  it('of another organization are not there', async () => {
    const { body } = await ask('POST', 'docker-registry', REGISTRY);
    const other = await api.addKey(await api.addOrganization());
    expect((await ask('GET', `docker-registry/${body.id}`, undefined, other)).status).toBe(404);
    expect((await ask('GET', 'docker-registry', undefined, other)).body).toEqual([]);
  });

  it.each(['', 'https://', 'https://user:pass@host/', 'a b', 'https://host:99999'])(
    'refuse %j as a url',
    async (url) => {
      expect((await ask('POST', 'docker-registry', { ...REGISTRY, url })).status).toBe(400);
    },
  );

  it('are at most 100', async () => {
    const made = await Promise.all(Array.from({ length: 101 }, () => ask('POST', 'docker-registry', REGISTRY)));
    expect(made.filter(({ status }) => status === 201)).toHaveLength(100);
    expect(made.find(({ status }) => status === 400)?.body.message).toBe(
      'Registry quota exceeded. Maximum allowed: 100',
    );
  });

  it('need their permissions', async () => {
    const reader = await api.addKey(organizationId, { permissions: ['write:snapshots'] });
    expect((await ask('POST', 'docker-registry', REGISTRY, reader)).status).toBe(403);
    expect((await ask('DELETE', `docker-registry/${crypto.randomUUID()}`, undefined, reader)).status).toBe(403);
  });
});

describe('the organization', () => {
  it('is the one of the key, and no other', async () => {
    const { body } = await ask('GET', 'organizations');
    expect(body).toHaveLength(1);
    expect(organizationSchema.parse(body[0])).toMatchObject({
      id: organizationId,
      defaultRegionId: 'local',
      maxDiskPerSandbox: 10,
    });
    expect((await ask('GET', `organizations/${organizationId}`)).body).toEqual(body[0]);
    const other = await api.addOrganization();
    for (const path of [`organizations/${other}`, `organizations/${other}/usage`]) {
      expect((await ask('GET', path)).status).toBe(404);
    }
  });

  it('sees what it uses', async () => {
    await ask('POST', 'snapshots', { name: 'a', imageName: 'x:1' });
    const { body } = await ask('GET', `organizations/${organizationId}/usage`);
    expect(organizationUsageSchema.parse(body)).toMatchObject({
      totalSnapshotQuota: 100,
      currentSnapshotUsage: 1,
      regionUsage: [{ regionId: 'local', currentCpuUsage: 0, totalCpuQuota: 100 }],
    });
  });
});

it('regions are one', async () => {
  const { body } = await ask('GET', 'regions');
  expect(body).toMatchObject([{ id: 'local', name: 'local', organizationId: null, regionType: 'shared' }]);
  expect((await ask('GET', 'regions/local')).body).toEqual(body[0]);
  expect((await ask('GET', 'regions/mars')).status).toBe(404);
});

it('a registry to push to is not there, and says so', async () => {
  const { status, body } = await ask('GET', 'docker-registry/registry-push-access?regionId=local');
  expect([status, typeof body.message]).toEqual([503, 'string']);
});
