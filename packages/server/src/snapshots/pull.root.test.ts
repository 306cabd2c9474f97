import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createImagePuller, type OpenImagePuller } from '../images/pull.ts';
import { QUICK_LIMITS, registryConfig } from '../images/testing/fetching.ts';
import { type RegistryServer, startRegistryServer } from '../images/testing/registry-server.ts';
import { type ScriptedRegistry, sendError, startScriptedRegistry } from '../images/testing/scripted-registry.ts';
import { makeImage } from '../images/testing/test-image.ts';
import { htpasswdAuth } from '../images/testing/token-server.ts';
import { createUnpacker, type LayerUnpacker } from '../images/unpack/unpacker.ts';
import { insertSnapshot, moveSnapshot, type SnapshotRow } from '../lifecycle/move.ts';
import { credentialsFor } from '../tenancy/registries.ts';
import { newSnapshot } from '../test-support/rows.ts';
import { startTestApi, type TestApi } from '../test-support/test-api.ts';
import { createLayerSweeper, type LayerSweeper } from './layer-sweeper.ts';
import { recoverSnapshots } from './recover.ts';
import { startSnapshotWorkers } from './workers.ts';

const WAIT_MS = 30_000;
const CREDENTIALS = { username: 'user', password: 's3cret-pass' };

let api: TestApi;
let registry: RegistryServer;
let closed: RegistryServer;
let scripted: ScriptedRegistry;
let unpacker: LayerUnpacker;
let puller: OpenImagePuller;
let sweeper: LayerSweeper;
let organizationId: string;
let key: string;

const base = { files: { 'etc/': '', 'etc/passwd': 'root:x:0:0::/:/bin/sh\n' } };
const app = makeImage([base, { files: { 'app/': '', 'app/main': 'v1' } }], {
  config: { Entrypoint: ['/app/main'], Cmd: ['--help'], Env: ['A=1'], WorkingDir: '/app', User: '1000' },
});
const newer = makeImage([base, { files: { 'app/': '', 'app/main': 'v2' } }]);
const diffIds = (image: typeof app) => image.layers.map(({ diffId }) => diffId);

beforeAll(async () => {
  api = await startTestApi();
  registry = await startRegistryServer();
  closed = await startRegistryServer({ auth: htpasswdAuth });
  await registry.push('team/app:1', app);
  await closed.push('secret:1', app, CREDENTIALS);
  const log = pino({ level: process.env.DARKROOM_TEST_LOG ?? 'silent' });
  const { db, jobs, layers, secrets, instanceId } = api;
  unpacker = createUnpacker({ idBase: 1_000_000_000, idCount: 65_536 });
  puller = createImagePuller({ layers, unpacker, registries: registryConfig(), limits: QUICK_LIMITS });
  sweeper = createLayerSweeper({ db, layers, runnerId: 'here', graceSeconds: 60, log });
  await startSnapshotWorkers({
    db,
    jobs,
    puller,
    builds: api.builds,
    layers,
    sweeper,
    credentialsFor: (organization) => credentialsFor({ db, secrets }, organization),
    instanceId,
    runnerId: 'here',
    pullConcurrency: 4,
    log,
  });
}, 90_000);
afterAll(async () => {
  await api?.jobs.stop({ graceMs: 5_000 });
  await sweeper?.close();
  await puller?.close();
  await unpacker?.close();
  await registry?.close();
  await closed?.close();
  await api?.stop();
});
beforeEach(async () => {
  scripted = await startScriptedRegistry();
  organizationId = await api.addOrganization();
  key = await api.addKey(organizationId);
});
afterEach(() => scripted.close());

const rowOf = (id: string) => api.db.selectFrom('snapshots').selectAll().where('id', '=', id).executeTakeFirst();
const ask = (method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown) =>
  api.ask(method, `/api/${path}`, { key, ...(body === undefined ? {} : { body }) });

async function create(name: string, imageName: string, more: object = {}): Promise<string> {
  const { status, body } = await ask('POST', 'snapshots', { name, imageName, ...more });
  expect([status, body.state], JSON.stringify(body)).toEqual([200, 'pending']);
  return body.id;
}

const until = (id: string, ...states: string[]): Promise<SnapshotRow> =>
  api.events.waitFor(
    id,
    async () => {
      const row = await rowOf(id);
      return row !== undefined && states.includes(row.state) ? row : undefined;
    },
    { timeoutMs: WAIT_MS },
  );
const settled = (id: string) => until(id, 'active', 'error');
const gone = (id: string) =>
  api.events.waitFor(id, async () => ((await rowOf(id)) === undefined ? true : undefined), { timeoutMs: WAIT_MS });
const statesOf = async (id: string) =>
  (await api.db.selectFrom('events').select('to_state').where('subject_id', '=', id).orderBy('id').execute()).map(
    (event) => event.to_state,
  );
const hasLayers = (image: typeof app) => api.layers.hasAll(diffIds(image));

describe('a new snapshot', () => {
  it('is pulled from its registry and becomes active with all that a sandbox needs', async () => {
    const id = await create('app', `${registry.host}/team/app:1`);
    const row = await settled(id);
    expect(row).toMatchObject({
      state: 'active',
      runner_id: 'here',
      ref: `${registry.host}/team/app@${app.digest}`,
      layers: diffIds(app),
      entrypoint: ['/app/main'],
      error_reason: null,
    });
    expect(row.image).toMatchObject({ env: ['A=1'], workingDir: '/app', user: '1000', cmd: ['--help'] });
    expect(row.size_bytes).toBeGreaterThan(0);
    expect(await statesOf(id)).toEqual(['pending', 'pulling', 'active']);
    expect(await hasLayers(app)).toBe(true);
    const { body } = await ask('GET', 'snapshots/app');
    expect(body).toMatchObject({ state: 'active', entrypoint: ['/app/main'], ref: row.ref });
    expect(body.size).toBeGreaterThan(0);
  });

  it('keeps the entrypoint that was asked for', async () => {
    const id = await create('own-entrypoint', `${registry.host}/team/app:1`, { entrypoint: ['sleep', '5'] });
    expect((await settled(id)).entrypoint).toEqual(['sleep', '5']);
  });

  it('fails with a reason when its image is not there', async () => {
    const id = await create('missing', `${registry.host}/team/nothing:1`);
    const row = await settled(id);
    expect([row.state, row.error_code]).toEqual(['error', 'image_unavailable']);
    expect(row.error_reason).toContain('team/nothing:1');
    expect((await ask('GET', 'snapshots/missing')).body.errorReason).toBe(row.error_reason);
  });

  it('fails when its image is larger than the organization may have', async () => {
    await api.db
      .updateTable('organizations')
      .set({ max_snapshot_size_gb: 1e-9 })
      .where('id', '=', organizationId)
      .execute();
    const row = await settled(await create('large', `${registry.host}/team/app:1`));
    expect([row.state, row.error_code]).toEqual(['error', 'image_invalid']);
  });

  it('is pulled with the credentials that the organization stored for the registry', async () => {
    const image = `${closed.host}/secret:1`;
    const refused = await settled(await create('without', image));
    expect([refused.state, refused.error_code]).toEqual(['error', 'image_unavailable']);
    const stored = await ask('POST', 'docker-registry', {
      name: 'ours',
      url: `http://${closed.host}/v2/`,
      ...CREDENTIALS,
    });
    expect(stored.status).toBe(201);
    expect((await settled(await create('with', image))).state).toBe('active');
    expect(JSON.stringify(await api.db.selectFrom('events').selectAll().execute())).not.toContain(CREDENTIALS.password);
  });

  it('stays in pulling while a failing registry is tried again, and becomes active when it recovers', async () => {
    scripted.serve('flaky', app, '1');
    let failures = 0;
    scripted.script = (request, response) => {
      // One more than the client itself tries, so that the job has to come back.
      if (!request.url?.includes('/manifests/') || ++failures > QUICK_LIMITS.attempts + 1) return undefined;
      sendError(response, 503, 'UNAVAILABLE', 'in maintenance');
      return true;
    };
    const id = await create('flaky', `${scripted.host}/flaky:1`);
    expect((await settled(id)).state).toBe('active');
    expect(await statesOf(id)).toEqual(['pending', 'pulling', 'active']);
  });
});

describe('a snapshot that is deleted during its pull', () => {
  it('ends the download, frees its name at once and leaves no layer', async () => {
    const image = makeImage([{ files: { big: Buffer.alloc(300_000, 'x') }, compression: 'none' }]);
    scripted.serve('stalled', image, '1');
    const asked = Promise.withResolvers<void>();
    const cut = Promise.withResolvers<void>();
    scripted.script = (request, response) => {
      if (!request.url?.endsWith(image.layers[0]?.digest ?? '-')) return undefined;
      response.writeHead(200, { 'content-length': '301568' });
      const drip = setInterval(() => response.write(Buffer.alloc(1024)), 20);
      response.once('close', () => {
        clearInterval(drip);
        cut.resolve();
      });
      asked.resolve();
      return true;
    };
    const id = await create('stalled', `${scripted.host}/stalled:1`);
    await asked.promise;
    expect((await ask('DELETE', `snapshots/${id}`)).status).toBe(200);
    expect((await ask('GET', 'snapshots/stalled')).status).toBe(404);
    const successor = await create('stalled', `${registry.host}/team/app:1`);
    await cut.promise;
    await gone(id);
    expect(await statesOf(id)).toEqual(['pending', 'pulling', 'removing', 'gone']);
    expect((await settled(successor)).state).toBe('active');
    expect(await hasLayers(image)).toBe(false);
  });
});

describe('layers', () => {
  it('go when the last snapshot that needs them does, and not before', async () => {
    await registry.push('team/shared:1', newer);
    const [first, second] = [
      await create('first', `${registry.host}/team/shared:1`),
      await create('second', `${registry.host}/team/shared:1`),
    ];
    await Promise.all([settled(first), settled(second)]);
    const top = diffIds(newer).slice(1);
    await ask('DELETE', 'snapshots/first');
    await gone(first);
    await sweeper.makeRoom();
    expect(await api.layers.hasAll(top)).toBe(true);
    await ask('DELETE', 'snapshots/second');
    await gone(second);
    await sweeper.makeRoom();
    expect(await api.layers.hasAll(top)).toBe(false);
  });

  it('of an inactive snapshot come back by their digest, wherever the tag points by then', async () => {
    const image = makeImage([{ files: { only: 'here' } }]);
    await registry.push('team/moving:1', image);
    const id = await create('moving', `${registry.host}/team/moving:1`);
    await settled(id);
    expect((await ask('POST', `snapshots/${id}/deactivate`)).status).toBe(204);
    await sweeper.makeRoom();
    await registry.push('team/moving:1', newer);
    expect((await ask('POST', `snapshots/${id}/activate`)).body.state).toBe('pending');
    expect(await settled(id)).toMatchObject({ state: 'active', layers: diffIds(image) });
  });
});

describe('after the server that pulled has ended', () => {
  it('a snapshot is pulled again by the next one', async () => {
    const { id } = await insertSnapshot(
      api.db,
      newSnapshot(organizationId, { image_name: `${registry.host}/team/app:1` }),
      { actor: 'test' },
    );
    const ownerId = crypto.randomUUID();
    await moveSnapshot(api.db, id, { from: ['pending'], to: 'pulling', actor: 'test', ownerId });
    expect(await recoverSnapshots(api)).toBe(1);
    expect((await settled(id)).state).toBe('active');
    expect(await statesOf(id)).toEqual(['pending', 'pulling', 'pending', 'pulling', 'active']);
  });

  it('a snapshot on its way out goes', async () => {
    const { id } = await insertSnapshot(api.db, newSnapshot(organizationId), { actor: 'test' });
    await moveSnapshot(api.db, id, { from: ['pending'], to: 'removing', actor: 'test' });
    await recoverSnapshots(api);
    await gone(id);
  });
});
