import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createLayerStore } from '../images/layer-store.ts';
import { createLayerKeeper, type LayerKeeper } from './layer-keeper.ts';

const GRACE = { graceMs: 1000 };
const [A, B] = [`sha256:${'a'.repeat(64)}`, `sha256:${'b'.repeat(64)}`];

let directory: string;
let keeper: LayerKeeper;
let now = 0;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'darkroom-keeper-'));
  now = 0;
  keeper = createLayerKeeper(await createLayerStore(directory, { graceMs: 0 }), () => now);
  for (const diffId of [A, B]) await keeper.add(diffId, async () => ({ sizeBytes: 1 }), AbortSignal.timeout(10_000));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const nothing = async () => new Set<string>();

it('removes what nothing needs, once its grace is over', async () => {
  now = 1000;
  expect(await keeper.sweep(nothing, GRACE)).toEqual([]);
  now = 1001;
  expect((await keeper.sweep(async () => new Set([A]), GRACE)).sort()).toEqual([B]);
  expect([await keeper.hasAll([A]), await keeper.hasAll([B])]).toEqual([true, false]);
});

it('lets a layer that was needed until now have its grace from now', async () => {
  now = 5000;
  await keeper.sweep(async () => new Set([A, B]), GRACE);
  now = 5500;
  expect(await keeper.sweep(nothing, GRACE)).toEqual([]);
});

it('keeps what was looked at under a hold, however long the hold lasts', async () => {
  now = 10_000;
  const hold = keeper.hold();
  expect(await keeper.hasAll([A])).toBe(true);
  now = 100_000;
  expect(await keeper.sweep(nothing, GRACE)).toEqual([B]);
  hold[Symbol.dispose]();
  expect(await keeper.sweep(nothing, GRACE)).toEqual([A]);
});

it('keeps what was under a hold that ended after the sweep had read what is needed', async () => {
  now = 10_000;
  const hold = keeper.hold();
  expect(await keeper.hasAll([A])).toBe(true);
  now = 100_000;
  const freed = await keeper.sweep(async () => {
    const read = new Set<string>();
    // The row that needs the layer is written now, too late for this reading.
    hold[Symbol.dispose]();
    return read;
  }, GRACE);
  expect(freed).toEqual([B]);
  expect(await keeper.hasAll([A])).toBe(true);
});

it('keeps what is asked for while the sweep finds out what is needed', async () => {
  now = 10_000;
  const freed = await keeper.sweep(async () => {
    await keeper.get(A);
    return new Set();
  }, GRACE);
  expect(freed).toEqual([B]);
});
