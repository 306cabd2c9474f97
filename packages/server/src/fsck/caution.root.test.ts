import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { damagedLayers } from './checks/damaged-layers.ts';
import { flipByte, makeBuilt, stateOf } from './testing/damage.ts';
import { type FsckLab, startFsckLab } from './testing/fsck-lab.ts';

/** Repairs give nothing up that is, or may be, still good. */
let lab: FsckLab;
beforeAll(async () => {
  lab = await startFsckLab();
}, 60_000);
afterAll(() => lab?.stop());
afterEach(() => lab.reset());

test('a snapshot whose layers were put together since it was found is left alone', async () => {
  const layer = await makeBuilt(lab, { a: 'a' });
  const { id } = await lab.addSnapshot('captured', [layer], { source_sandbox_id: crypto.randomUUID() });
  flipByte(join(layer.path, 'a'));
  const merged = await makeBuilt(lab, { a: 'a' });
  const scene = { ...lab.scene, depth: 'bytes', signal: AbortSignal.timeout(60_000) } as const;
  for await (const found of damagedLayers.find(scene)) {
    if (!('repair' in found)) continue;
    await lab.db
      .updateTable('snapshots')
      .set({ layers: [merged.diffId] })
      .where('id', '=', id)
      .execute();
    expect(await found.repair?.run(scene.signal)).toBeUndefined();
  }
  expect(await stateOf(lab, 'snapshots', id)).toEqual({ state: 'active', error_reason: null });
});

test('where rows tell of other machines, what does not say where it is is not given up', async () => {
  const layer = await makeBuilt(lab, { a: 'a' });
  const { id } = await lab.addSnapshot('built', [layer], { runner_id: null });
  await lab.addSandbox([], { runner_id: 'elsewhere' });
  rmSync(dirname(layer.path), { recursive: true });
  const found = (await lab.repair('quick')).find(({ kind }) => kind === 'layer-missing');
  expect(found).toMatchObject({ repair: null, outcome: 'found', problem: expect.stringContaining('other machines') });
  expect(await stateOf(lab, 'snapshots', id)).toEqual({ state: 'active', error_reason: null });
});

test('where a snapshot says that it is on this machine it is, and on another one it is not missed', async () => {
  const [here, there] = [await makeBuilt(lab, { a: 'a' }), await makeBuilt(lab, { b: 'b' })];
  const { id } = await lab.addSnapshot('here', [here]);
  const other = await lab.addSnapshot('there', [there], { runner_id: 'elsewhere' });
  await lab.addSandbox([], { runner_id: 'elsewhere' });
  for (const { path } of [here, there]) rmSync(dirname(path), { recursive: true });
  const found = (await lab.repair('quick')).filter(({ kind }) => kind === 'layer-missing');
  expect(found).toEqual([expect.objectContaining({ id: here.diffId, outcome: 'repaired' })]);
  expect(await stateOf(lab, 'snapshots', id)).toMatchObject({ state: 'error' });
  expect(await stateOf(lab, 'snapshots', other.id)).toEqual({ state: 'active', error_reason: null });
});

test('nothing is given up while the pool does not take what is written', async () => {
  const layer = await makeBuilt(lab, { a: 'a' });
  const { id } = await lab.addSnapshot('built', [layer]);
  rmSync(dirname(layer.path), { recursive: true });
  mkdirSync(join(lab.poolRoot, '.fsck-probe'));
  expect(await lab.repair('quick')).toEqual([
    expect.objectContaining({ outcome: 'failed', note: expect.stringContaining('the pool does not answer') }),
  ]);
  rmSync(join(lab.poolRoot, '.fsck-probe'), { recursive: true });
  expect(await stateOf(lab, 'snapshots', id)).toEqual({ state: 'active', error_reason: null });
});

test('nothing is given up for what a pool lacks that has nothing at all', async () => {
  const layer = await makeBuilt(lab, { a: 'a' });
  const { id } = await lab.addSnapshot('built', [layer]);
  const sandbox = await lab.addSandbox([layer.diffId]);
  renameSync(lab.poolRoot, `${lab.poolRoot}-away`);
  await lab.reopen();
  mkdirSync(join(lab.poolRoot, 'sandboxes'));
  const found = await lab.repair('quick');
  expect(found.map(({ kind, outcome }) => `${kind} ${outcome}`)).toEqual([
    'layer-missing failed',
    'sandbox-files failed',
  ]);
  expect(found[0]?.note).toContain('no layer at all');
  await lab.store.close();
  rmSync(lab.poolRoot, { recursive: true });
  renameSync(`${lab.poolRoot}-away`, lab.poolRoot);
  await lab.reopen();
  expect(await stateOf(lab, 'snapshots', id)).toEqual({ state: 'active', error_reason: null });
  expect(await stateOf(lab, 'sandboxes', sandbox)).toEqual({ state: 'stopped', error_reason: null });
  expect(await lab.repair('quick')).toEqual([]);
});

test('a layer that was said to be damaged and is what it was is not given up', async () => {
  const layer = await makeBuilt(lab, { a: 'a' });
  const { id } = await lab.addSnapshot('captured', [layer], { source_sandbox_id: crypto.randomUUID() });
  await lab.scene.health.noteDamaged(layer.diffId, ['/a: it cannot be read: EIO']);
  await lab.reopen();
  const [found] = await lab.repair('quick');
  expect(found).toMatchObject({ kind: 'layer-damaged', outcome: 'repaired', note: expect.stringContaining('it was') });
  expect(await stateOf(lab, 'snapshots', id)).toEqual({ state: 'active', error_reason: null });
  await lab.reopen();
  expect(await lab.find('bytes')).toEqual([]);
});
