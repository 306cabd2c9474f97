import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PERMISSIONS } from '@darkroom/contract';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { configSchema } from '../platform/config-schema.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { bootstrapTenancy } from './bootstrap.ts';
import { createKeyVerifier } from './key-verifier.ts';

let database: TestDatabase;
let stateDir: string;
beforeAll(async () => {
  database = await startTestDatabase();
}, 60_000);
afterAll(() => database?.stop());
beforeEach(async () => {
  await database.reset();
  stateDir = await mkdtemp(join(tmpdir(), 'darkroom-bootstrap-'));
});
afterEach(() => rm(stateDir, { recursive: true, force: true }));

const { quotas } = configSchema.parse({});
const bootstrap = (url = 'http://127.0.0.1:3986') => bootstrapTenancy(database.db, { stateDir, url, quotas });
const file = () => join(stateDir, 'credentials.json');
const read = async () => JSON.parse(await readFile(file(), 'utf8'));
async function verify(key: string) {
  const errors: unknown[] = [];
  const keys = createKeyVerifier({ db: database.db, onError: (error) => errors.push(error) });
  const auth = await keys.verify(key);
  await keys.close();
  expect(errors).toEqual([]);
  return auth;
}

it('the first start makes an organization and a key that may do everything, and writes them for the owner alone', async () => {
  const credentials = await bootstrap();
  expect(await read()).toEqual(credentials);
  expect((await stat(file())).mode & 0o777).toBe(0o600);
  expect(await readdir(stateDir)).toEqual(['credentials.json']);
  const auth = await verify(credentials.apiKey);
  expect(auth).toMatchObject({ organizationId: credentials.organizationId, isAdmin: true });
  expect([...(auth?.permissions ?? [])]).toEqual([...PERMISSIONS]);
  const organization = await database.db.selectFrom('organizations').selectAll().executeTakeFirstOrThrow();
  expect(organization).toMatchObject({
    snapshot_quota: quotas.snapshots,
    max_cpu_per_sandbox: quotas.maxCpuPerSandbox,
  });
});

it('later starts keep the key and the organization, and bring the url up to date', async () => {
  const first = await bootstrap();
  expect(await bootstrap('http://127.0.0.1:4000')).toEqual({ ...first, url: 'http://127.0.0.1:4000' });
  expect((await read()).url).toBe('http://127.0.0.1:4000');
  expect(await database.db.selectFrom('api_keys').select('id').execute()).toHaveLength(1);
});

it.each([
  ['is lost', () => rm(file())],
  ['is broken', () => writeFile(file(), '{"url": "http')],
  [
    'names a key of another database',
    async () => writeFile(file(), JSON.stringify({ ...(await read()), apiKey: `dtn_${'0'.repeat(64)}` })),
  ],
])('a new key for the same organization is made when the file %s', async (_what, harm) => {
  const first = await bootstrap();
  await harm();
  const second = await bootstrap();
  expect(second.organizationId).toBe(first.organizationId);
  expect(second.apiKey).not.toBe(first.apiKey);
  expect(await read()).toEqual(second);
  expect((await verify(second.apiKey))?.isAdmin).toBe(true);
  expect((await stat(file())).mode & 0o777).toBe(0o600);
});
