import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { createLayerStore } from '../images/layer-store.ts';
import type { Layer } from '../images/types.ts';
import { createLayerKeeper, type LayerKeeper } from './layer-keeper.ts';

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

const everything = async (stored: readonly Layer[]) => new Set(stored.map(({ diffId }) => diffId));
const swept = async (find = everything) => (await keeper.sweep(find)).map(({ diffId }) => diffId).sort();

it('removes what it is told to, and nothing else', async () => {
  now = 1000;
  expect(await swept(async () => new Set([B, 'sha256:other']))).toEqual([B]);
  expect([await keeper.hasAll([A]), await keeper.hasAll([B])]).toEqual([true, false]);
});

it('keeps what was looked at under a hold, however long the hold lasts', async () => {
  now = 10_000;
  const hold = keeper.hold();
  expect(await keeper.hasAll([A])).toBe(true);
  now = 100_000;
  expect(keeper.heldForMs()).toBe(90_000);
  expect(await swept()).toEqual([B]);
  hold[Symbol.dispose]();
  expect(keeper.heldForMs()).toBeUndefined();
  expect(await swept()).toEqual([A]);
});

it('keeps what was under a hold that ended after the sweep had read what is needed', async () => {
  now = 10_000;
  const hold = keeper.hold();
  expect(await keeper.hasAll([A])).toBe(true);
  now = 100_000;
  const freed = await swept(async (stored) => {
    expect(stored.map(({ diffId }) => diffId)).toEqual([B]);
    // The row that needs the layer is written now, too late for this reading.
    hold[Symbol.dispose]();
    return new Set([A, B]);
  });
  expect(freed).toEqual([B]);
  expect(await keeper.hasAll([A])).toBe(true);
});

it('keeps what is asked for while the sweep finds out what is needed', async () => {
  now = 10_000;
  const freed = await swept(async (stored) => {
    await keeper.get(A);
    return everything(stored);
  });
  expect(freed).toEqual([B]);
});

it('keeps a layer from the moment that it has its name, before who makes it knows', async () => {
  const store = await createLayerStore(join(directory, 'other'), { graceMs: 0 });
  await store.add(A, async () => ({ sizeBytes: 1 }), AbortSignal.timeout(10_000));
  const made = Promise.withResolvers<void>();
  const slow = createLayerKeeper({
    ...store,
    async make(fill) {
      const layer = await store.make(fill);
      await made.promise;
      return layer;
    },
  });
  const making = slow.make(async () => ({ sizeBytes: 1 }));
  const freed: string[] = [];
  // The one of an earlier server is nobody's; the new one has its name at some moment.
  while ((await store.list()).length < 2) await setImmediate();
  freed.push(...(await slow.sweep(everything)).map(({ diffId }) => diffId));
  expect(freed).toEqual([A]);
  made.resolve();
  const layer = await making;
  expect((await slow.list()).map(({ diffId }) => diffId)).toEqual([layer?.diffId]);
});
