import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { insertSnapshot } from '../../lifecycle/move.ts';
import { createLayerSweeper } from '../../snapshots/layer-sweeper.ts';
import { unreachableLayers } from '../../snapshots/reachable-layers.ts';
import { addOrganization, newSnapshot } from '../../test-support/rows.ts';
import { type CacheBounds, createCacheBounds } from './cache-bounds.ts';
import { createCacheSweeper } from './cache-sweeper.ts';
import type { OpenStepCache } from './create-step-cache.ts';
import { type CacheLab, startCacheLab } from './testing/cache-lab.ts';

const MIB = 1024 * 1024;

let lab: CacheLab;
let cache: OpenStepCache;
let bounds: CacheBounds;
beforeAll(async () => {
  lab = await startCacheLab();
}, 60_000);
afterAll(() => lab.stop());
beforeEach(async () => {
  await lab.reset();
  cache = lab.open();
  bounds = createCacheBounds({ db: lab.database.db, layers: lab.keeper, runnerId: 'here' });
});

/** Records a step whose layer has so many bytes, last used so many hours ago. */
async function recorded(name: string, bytes: number, hours: number, organizationId = lab.organizationId) {
  const { layer } = await lab.ask(cache, { organizationId, parts: { name }, text: name }, lab.makes(bytes)).result;
  if (layer === undefined) throw new Error('no layer');
  await lab.database.db
    .updateTable('build_cache')
    .set({ last_used_at: new Date(Date.now() - hours * 3_600_000) })
    .where('layer', '=', layer.diffId)
    .execute();
  return layer.diffId;
}

async function baseImage(layers: string[], hours: number): Promise<void> {
  await lab.database.db
    .insertInto('base_images')
    .values({
      organization_id: lab.organizationId,
      runner_id: 'here',
      reference: 'docker.io/library/base:1',
      platform: 'linux/amd64',
      resolved: 'docker.io/library/base@sha256:0',
      layers,
      config: '{}',
      size_bytes: 1,
      last_used_at: new Date(Date.now() - hours * 3_600_000),
    })
    .execute();
}

/** Layers that the database names. */
async function kept(): Promise<string[]> {
  const stored = (await lab.keeper.list()).map(({ diffId }) => diffId);
  const free = await unreachableLayers(lab.database.db, stored, 'here');
  return stored.filter((id) => !free.includes(id)).sort();
}
const activeSnapshot = (layers: string[]) =>
  insertSnapshot(
    lab.database.db,
    newSnapshot(lab.organizationId, { state: 'active', layers, image: '{}', size_bytes: 1 }),
    { actor: 'test' },
  );

describe('a cache that is too large', () => {
  it('forgets what was used longest ago, and no more than it must', async () => {
    const [, b, c] = [await recorded('a', 10, 3), await recorded('b', 10, 2), await recorded('c', 10, 1)];
    expect(await bounds.bytes()).toBe(30);
    expect(await bounds.shrinkTo(30)).toBe(0);
    expect(await bounds.shrinkTo(25)).toBe(1);
    expect(await kept()).toEqual([b, c].sort());
    expect(await bounds.bytes()).toBe(20);
  });

  it('does not count, and keeps, what a snapshot needs', async () => {
    const [a, b] = [await recorded('a', 10, 3), await recorded('b', 10, 2)];
    await activeSnapshot([a]);
    expect(await bounds.bytes()).toBe(10);
    expect(await bounds.shrinkTo(0)).toBe(1);
    expect(await kept()).toEqual([a]);
    expect(await lab.ask(cache, { parts: { name: 'a' }, text: 'a' }, lab.makes()).result).toMatchObject({
      layer: { diffId: a },
    });
    expect(b).not.toBe(a);
  });

  it('keeps what running builds have got hold of', async () => {
    const [a] = [await recorded('a', 10, 3), await recorded('b', 10, 2)];
    using _hold = lab.keeper.hold();
    await lab.ask(cache, { parts: { name: 'a' }, text: 'a' }, lab.makes()).result;
    await lab.keeper.sweep(async () => new Set());
    expect(await bounds.shrinkTo(0)).toBe(1);
    expect(await kept()).toEqual([a]);
  });

  it('keeps what was used since it was weighed', async () => {
    const a = await recorded('a', 10, 3);
    await lab.ask(cache, { parts: { name: 'a' }, text: 'a' }, lab.makes()).result;
    const noting = createCacheBounds({
      db: lab.database.db,
      runnerId: 'here',
      layers: { list: () => cache.noteUses().then(() => lab.keeper.list()), isHeld: () => false },
    });
    expect(await noting.shrinkTo(0)).toBe(0);
    expect(await kept()).toEqual([a]);
  });

  it('frees a layer of a base image with the last row that names it', async () => {
    const [a, b] = [await recorded('a', 10, 9), await recorded('b', 20, 1)];
    await baseImage([a, b], 5);
    expect(await bounds.bytes()).toBe(30);
    expect(await bounds.shrinkTo(20)).toBe(2);
    expect(await kept()).toEqual([b]);
  });
});

it('forgets what nothing used for days', async () => {
  const [, b] = [await recorded('a', 1, 49), await recorded('b', 1, 47)];
  await baseImage([b], 49);
  expect(await bounds.forgetUnusedFor(2)).toBe(2);
  expect(await kept()).toEqual([b]);
});

it('is cleared for one organization', async () => {
  const other = await addOrganization(lab.database.db, 'other');
  await recorded('a', 1, 1);
  const theirs = await recorded('a', 1, 1, other);
  await baseImage([theirs], 1);
  expect(await bounds.clear(lab.organizationId)).toBe(2);
  expect(await kept()).toEqual([theirs]);
});

it('gives up its older half when the disk is full, and its layers go at once', async () => {
  const names = ['a', 'b', 'c', 'd'];
  const layers: string[] = [];
  for (const [index, name] of names.entries()) layers.push(await recorded(name, 100 * MIB, 10 - index));
  const log = { info() {}, warn() {} };
  const sweeper = createLayerSweeper({
    db: lab.database.db,
    layers: lab.keeper,
    runnerId: 'here',
    graceSeconds: 60,
    log,
  });
  sweeper.shrinkFirst(bounds.shrinkByHalf);
  expect(await sweeper.makeRoom()).toBe(2);
  expect(await kept()).toEqual(layers.slice(2).sort());
  expect(await sweeper.makeRoom()).toBe(2);
  expect(await sweeper.makeRoom()).toBe(0);
  await sweeper.close();
});

it('is swept by use and age together, and asks for its layers to be removed', async () => {
  const [, b, c] = [await recorded('a', 10, 24 * 40), await recorded('b', 10, 20), await recorded('c', 10, 10)];
  await lab.ask(cache, { parts: { name: 'b' }, text: 'b' }, lab.makes()).result;
  let requests = 0;
  const log = { info() {}, warn() {} };
  const layerSweeper = { request: () => void requests++ };
  const settings = { maxBytes: 10, maxAgeDays: 30 };
  const sweeper = createCacheSweeper({ cache, bounds, layerSweeper, settings, log });
  await sweeper.sweep();
  expect(await kept()).toEqual([b]);
  await sweeper.sweep();
  expect(requests).toBe(1);
  expect(c).not.toBe(b);
  await sweeper.close();
});
