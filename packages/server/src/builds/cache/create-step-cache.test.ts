import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { unreachableLayers } from '../../snapshots/reachable-layers.ts';
import { addOrganization } from '../../test-support/rows.ts';
import type { CacheUse } from '../types.ts';
import type { OpenStepCache } from './create-step-cache.ts';
import type { StepRequest } from './step-cache.ts';
import { type CacheLab, type Execute, startCacheLab } from './testing/cache-lab.ts';

let lab: CacheLab;
let cache: OpenStepCache;
beforeAll(async () => {
  lab = await startCacheLab();
}, 60_000);
afterAll(() => lab.stop());
beforeEach(async () => {
  await lab.reset();
  cache = lab.open();
});

const mustNotRun: Execute = () => Promise.reject(new Error('must not run'));
const parts = (files: string) => ({ 'the command': 'make', 'the files': files });

/** What a request with these properties is told, its step carried out when it must be. */
async function use(request: Partial<StepRequest>, from = cache): Promise<CacheUse> {
  const { uses, result } = lab.ask(from, request, lab.makes());
  await result;
  expect(uses).toHaveLength(1);
  const [first] = uses;
  if (first === undefined) throw new Error('nothing was told');
  return first;
}

describe('what was recorded', () => {
  it('is used again, whatever the order of its parts', async () => {
    const made = await lab.ask(cache, { parts: { a: '1', b: '2' } }, lab.makes(7)).result;
    expect(made.layer?.sizeBytes).toBe(7);
    const again = lab.ask(cache, { parts: { b: '2', a: '1' }, buildId: 'two' }, mustNotRun);
    expect(await again.result).toEqual(made);
    expect(again.uses).toEqual([{ kind: 'hit' }]);
  });

  it('is used again also where no file was changed', async () => {
    await lab.ask(cache, {}, async () => ({ layer: undefined })).result;
    expect(await lab.ask(cache, {}, mustNotRun).result).toEqual({ layer: undefined });
  });

  it('survives the server', async () => {
    await use({});
    expect(await use({ buildId: 'two' }, lab.open())).toEqual({ kind: 'hit' });
  });

  it('is of its organization alone', async () => {
    await use({});
    expect(await use({ organizationId: await addOrganization(lab.database.db, 'other') })).toEqual({
      kind: 'miss',
      why: 'first time',
    });
  });

  it('is kept from the sweeper, and goes with its organization', async () => {
    const { layer } = await lab.ask(cache, {}, lab.makes()).result;
    const { db } = lab.database;
    const unreachable = () => unreachableLayers(db, [layer?.diffId ?? ''], 'here');
    expect(await unreachable()).toEqual([]);
    await db.deleteFrom('organizations').execute();
    expect(await unreachable()).toEqual([layer?.diffId]);
  });

  it('does not hold up a build that cannot record', async () => {
    const { result } = lab.ask(cache, {}, async (signal, report) => {
      await lab.database.db.deleteFrom('organizations').execute();
      return lab.makes(3)(signal, report);
    });
    expect((await result).layer?.sizeBytes).toBe(3);
    expect(lab.warnings).toEqual(['the result of a step could not be recorded']);
  });

  it('is not recorded of a step that failed', async () => {
    await expect(lab.ask(cache, {}, () => Promise.reject(new Error('no'))).result).rejects.toThrow('no');
    expect(await use({})).toEqual({ kind: 'miss', why: 'first time' });
  });
});

describe('a miss says why', () => {
  it('the first time', async () => {
    expect(await use({})).toEqual({ kind: 'miss', why: 'first time' });
  });

  it('by naming what changed since the most similar of the last ones with the same text', async () => {
    await use({ parts: parts('1') });
    await use({ parts: { ...parts('9'), 'the command': 'cook' } });
    expect(await use({ parts: parts('2') })).toEqual({ kind: 'miss', why: 'the files changed' });
    expect(await use({ parts: { 'the environment': 'x', ...parts('1') } })).toEqual({
      kind: 'miss',
      why: 'the environment changed',
    });
    expect(await use({ parts: { 'the command': 'rest' } })).toEqual({
      kind: 'miss',
      why: 'the command and the files changed',
    });
    expect(await use({ parts: parts('3'), text: 'RUN other' })).toEqual({ kind: 'miss', why: 'first time' });
  });

  it('when noCache was asked for, except of what this same build recorded', async () => {
    await use({});
    const noCache = { noCache: true, buildId: 'two' };
    expect(await use(noCache)).toEqual({ kind: 'miss', why: 'noCache was asked for' });
    expect(await use(noCache, lab.open())).toEqual({ kind: 'hit' });
    expect(await use({ buildId: 'three' })).toEqual({ kind: 'hit' });
  });

  it('when the result is older than the build wants, unless it is its own', async () => {
    await use({});
    await lab.database.db
      .updateTable('build_cache')
      .set({ created_at: new Date(Date.now() - 3_600_000) })
      .execute();
    expect(await use({ maxAgeSeconds: 7200, buildId: 'two' })).toEqual({ kind: 'hit' });
    expect(await use({ maxAgeSeconds: 1800 })).toEqual({ kind: 'hit' });
    expect(await use({ maxAgeSeconds: 1800, buildId: 'two' })).toEqual({ kind: 'miss', why: 'older than 30 minutes' });
    expect(await use({ maxAgeSeconds: 1800, buildId: 'three' })).toEqual({ kind: 'hit' });
  });

  it('when its layer is gone', async () => {
    await use({});
    await lab.keeper.sweep(async (stored) => new Set(stored.map(({ diffId }) => diffId)));
    expect(await use({})).toEqual({ kind: 'miss', why: 'its layer is no longer there' });
    expect(await use({})).toEqual({ kind: 'hit' });
  });

  it('when the machine went down before the layer was known to be on disk', async () => {
    const { layer } = await lab.ask(cache, { parts: parts('1') }, lab.makes()).result;
    await use({ parts: parts('2') });
    await cache.markDurable(layer === undefined ? [] : [layer.diffId]);
    const afterwards = lab.open({ bootId: 'another' });
    expect(await use({ parts: parts('1') }, afterwards)).toEqual({ kind: 'hit' });
    const why = 'the machine went down before it was on disk';
    expect(await use({ parts: parts('2') }, afterwards)).toEqual({ kind: 'miss', why });
    expect(await use({ parts: parts('2') }, afterwards)).toEqual({ kind: 'hit' });
  });
});

it('knows which layers a build must sync, also after a restart', async () => {
  const { layer } = await lab.ask(cache, {}, lab.makes()).result;
  const ids = layer === undefined ? [] : [layer.diffId];
  expect(ids).toHaveLength(1);
  expect(cache.unsynced(['sha256:base', ...ids])).toEqual(ids);
  const next = lab.open();
  await use({}, next);
  expect(next.unsynced(ids)).toEqual(ids);
  await next.markDurable(ids);
  expect(next.unsynced(ids)).toEqual([]);
  const last = lab.open();
  await use({}, last);
  expect(last.unsynced(ids)).toEqual([]);
});

it('notes a use at most once a minute', async () => {
  await use({});
  const { db } = lab.database;
  const used = () => db.selectFrom('build_cache').select('last_used_at').executeTakeFirstOrThrow();
  const anHourAgo = new Date(Date.now() - 3_600_000);
  await db.updateTable('build_cache').set({ last_used_at: anHourAgo }).execute();
  await use({});
  await cache.noteUses();
  const noted = await used();
  expect(noted.last_used_at.getTime()).toBeGreaterThan(anHourAgo.getTime());
  await use({});
  await cache.noteUses();
  expect(await used()).toEqual(noted);
});
