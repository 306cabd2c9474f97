import { appendFileSync, mkdtempSync, readdirSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLayerHealth, type LayerHealth } from '../images/health/layer-health.ts';
import { soundPuller } from '../images/health/sound-puller.ts';
import { createLayerStore, type OpenLayerStore } from '../images/layer-store.ts';
import { parseReference } from '../images/reference.ts';
import { createPullFixture, type PullFixture, pullOptions } from '../images/testing/pull-fixture.ts';
import { type RegistryServer, startRegistryServer } from '../images/testing/registry-server.ts';
import { makeImage } from '../images/testing/test-image.ts';
import type { ImagePuller } from '../images/types.ts';
import { openSecretBox } from '../platform/secrets.ts';
import { addOrganization, newSnapshot } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { createRefetch } from './fetch-layer-again.ts';

let database: TestDatabase;
let registry: RegistryServer;
let fixture: PullFixture;
let store: OpenLayerStore;
let health: LayerHealth;
let puller: ImagePuller;
let directory: string;

beforeAll(async () => {
  database = await startTestDatabase();
  registry = await startRegistryServer();
  fixture = await createPullFixture();
  directory = mkdtempSync(join(tmpdir(), 'refetch-'));
  store = await createLayerStore(join(directory, 'store'));
  const raw = fixture.otherPuller({ layers: store });
  const refetch = createRefetch(
    {
      db: database.db,
      secrets: await openSecretBox(directory),
      instance: { runnerId: 'here' },
      log: { warn() {} },
    },
    () => raw,
  );
  health = await createLayerHealth({ store, log: { warn() {} }, ...refetch });
  puller = soundPuller(raw, health);
}, 60_000);
afterAll(async () => {
  await health?.close();
  await fixture?.close();
  await registry?.close();
  await database?.stop();
  rmSync(directory, { recursive: true, force: true });
});

test('a pull that finds damaged layers has whole ones in the end, where they were', async () => {
  const image = makeImage([
    { files: { 'etc/': '', 'etc/passwd': 'root' } },
    { files: { 'etc/more': 'x', 'new/file': 'y' } },
  ]);
  await registry.push('app:1', image);
  const reference = parseReference(`${registry.host}/app:1`);
  const pulled = await puller.pull(reference, pullOptions());
  const organizationId = await addOrganization(database.db);
  const row = newSnapshot(organizationId, {
    image: '{}',
    size_bytes: 1,
    runner_id: 'here',
    state: 'active',
    name: 'mine',
    ref: pulled.resolved,
    layers: pulled.layers,
  });
  await database.db.insertInto('snapshots').values(row).execute();
  const paths = await Promise.all(pulled.layers.map(async (id) => (await store.get(id))?.path ?? ''));

  // Nothing of it was looked at by the server that comes next.
  await health.close();
  const raw = fixture.otherPuller({ layers: store });
  const secrets = await openSecretBox(directory);
  const told: object[] = [];
  const log = { warn: (fields: object) => void told.push(fields) };
  const ground = { db: database.db, secrets, instance: { runnerId: 'here' }, log };
  health = await createLayerHealth({ store, log, ...createRefetch(ground, () => raw) });

  const [first = '', second = ''] = paths;
  appendFileSync(join(first, 'etc/passwd'), 'damaged');
  unlinkSync(join(second, 'new/file'));
  const again = await soundPuller(raw, health).pull(reference, pullOptions());
  expect(again.layers).toEqual(pulled.layers);
  for (const [index, id] of pulled.layers.entries()) {
    expect((await store.get(id))?.path).toBe(paths[index]);
    const verdict = await health.verifyLayer(paths[index] ?? '', {
      contents: true,
      signal: AbortSignal.timeout(30_000),
    });
    expect(verdict.kind).not.toBe('damaged');
  }
  expect(readdirSync(join(second, 'new'))).toEqual(['file']);
  expect(told).toContainEqual(expect.objectContaining({ snapshots: ['mine'] }));
});
