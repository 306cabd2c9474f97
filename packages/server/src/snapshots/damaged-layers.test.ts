import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLayerStore } from '../images/layer-store.ts';
import { insertSandbox } from '../lifecycle/move.ts';
import { addOrganization, newSandbox } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { createDamagedLayers } from './damaged-layers.ts';

const LAYER = `sha256:${'a'.repeat(64)}`;
let database: TestDatabase;
let directory: string;
beforeAll(async () => {
  database = await startTestDatabase();
  directory = await mkdtemp(join(tmpdir(), 'darkroom-damaged-'));
}, 60_000);
afterAll(async () => {
  await database?.stop();
  await rm(directory, { recursive: true, force: true });
});

test('a damaged layer that is there anew goes when nothing runs on it and its grace is over, and not before', async () => {
  const { db } = database;
  const store = await createLayerStore(directory, { graceMs: 0 });
  const add = () => store.add(LAYER, async () => ({ sizeBytes: 7 }), AbortSignal.timeout(10_000));
  await add();
  const row = await insertSandbox(db, newSandbox(await addOrganization(db), { layers: [LAYER], runner_id: 'here' }), {
    actor: 'test',
  });
  const become = (state: 'started' | 'stopped') =>
    db.updateTable('sandboxes').set({ state }).where('id', '=', row.id).execute();
  const beganAt = (at: Date) => db.updateTable('events').set({ at }).where('subject_id', '=', row.id).execute();
  await become('started');
  await beganAt(new Date(Date.now() - 600_000));
  let heldForMs: number | undefined;
  const common = { db, store, runnerId: 'here', layers: { heldForMs: () => heldForMs } };
  // So that what happened a moment ago is long ago.
  const list = async () =>
    (await store.listDamaged()).map((each) => ({ ...each, since: new Date(Date.now() - 90_000) }));
  const damaged = createDamagedLayers({ ...common, store: { ...store, listDamaged: list }, graceSeconds: 60 });
  await store.setAside(LAYER);
  // It may be put back.
  expect(await damaged.plan()).toEqual([]);
  await add();
  const aside = join(directory, 'damaged', '1');
  expect(await damaged.plan()).toMatchObject([{ kind: 'damaged-layer', sizeBytes: 7, goes: 'held' }]);
  expect(await damaged.collect({ withoutGrace: true })).toEqual([]);

  await become('stopped');
  heldForMs = 100_000;
  expect(await damaged.collect({ withoutGrace: true })).toEqual([]);
  heldForMs = 1000;
  expect(await damaged.plan()).toMatchObject([{ goes: 'grace' }]);
  expect(await damaged.collect({ withoutGrace: false })).toEqual([]);
  expect(existsSync(aside)).toBe(true);

  // One that was started since runs on the new files.
  await become('started');
  await beganAt(new Date());
  expect(await damaged.collect({ withoutGrace: true })).toMatchObject([{ id: `1 ${LAYER}` }]);
  expect(existsSync(aside)).toBe(false);
  expect((await store.list()).map(({ diffId }) => diffId)).toEqual([LAYER]);
});
