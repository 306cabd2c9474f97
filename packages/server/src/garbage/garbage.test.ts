import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { createContextCollector } from '../builds/contexts/collect-contexts.ts';
import { insertSnapshot } from '../lifecycle/move.ts';
import { newSnapshot } from '../test-support/rows.ts';
import { startTestApi, type TestApi } from '../test-support/test-api.ts';
import { forgetMarks, readMarks, remark } from './marks.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
}, 60_000);
afterAll(() => api?.stop(), 60_000);
afterEach(() => api.garbage.collect({ withoutGrace: true }));

const layer = (id: string) => `sha256:${id.repeat(64)}`;
const add = (id: string) => api.layers.add(layer(id), async () => ({ sizeBytes: 100 }), new AbortController().signal);
const stored = async () => (await api.layers.list()).map(({ diffId }) => diffId).sort();
const needing = (organizationId: string, layers: string[]) =>
  insertSnapshot(api.db, newSnapshot(organizationId, { state: 'active', image: '{}', size_bytes: 1, layers }), {
    actor: 'test',
  });
const baseImage = (organizationId: string, layers: string[], runnerId = 'test') =>
  api.db
    .insertInto('base_images')
    .values({
      ...{
        organization_id: organizationId,
        runner_id: runnerId,
        reference: 'x',
        platform: 'linux/amd64',
        resolved: 'x',
      },
      ...{ layers, config: '{}', size_bytes: 1, resolved_at: new Date(), last_used_at: new Date() },
    })
    .execute();
const age = (seconds: number) =>
  api.db
    .updateTable('garbage_marks')
    .set({ marked_at: new Date(Date.now() - seconds * 1000) })
    .execute();

it('lists what would go and why, and takes nothing', async () => {
  const organizationId = await api.addOrganization();
  for (const id of ['a', 'b', 'c']) await add(id);
  await needing(organizationId, [layer('a')]);
  await baseImage(organizationId, [layer('b')]);
  // What another machine's builds have kept says nothing of this one's layers.
  await baseImage(organizationId, [layer('c')], 'another');
  const hash = 'd'.repeat(64);
  await api.contexts.put({ organizationId, hash }, { size: 3, stream: Readable.from([Buffer.from('tar')]) });

  const key = await api.addKey(organizationId, { isAdmin: true });
  const { status, body } = await api.ask('GET', '/api/admin/gc', { key });
  expect(status).toBe(200);
  expect(body.items).toEqual([
    { kind: 'layer', id: layer('c'), sizeBytes: 100, goes: 'grace', why: expect.stringContaining('no snapshot') },
    {
      ...{ kind: 'base-image', id: 'linux/amd64 x', organizationId, sizeBytes: 100, goes: 'pressure' },
      why: expect.stringContaining('may save a build a step'),
    },
    { kind: 'layer', id: layer('b'), sizeBytes: 100, goes: 'pressure', why: expect.stringContaining('build cache') },
  ]);
  expect((await stored()).length).toBe(3);

  using _hold = api.layers.hold();
  await api.layers.get(layer('c'));
  expect(await api.garbage.plan()).toContainEqual(expect.objectContaining({ id: layer('c'), goes: 'held' }));
  expect(await createContextCollector(api.contexts, { unusedContextDays: -1 }).plan()).toEqual([
    expect.objectContaining({ kind: 'context', id: hash, organizationId, sizeBytes: 3, goes: 'sweep' }),
  ]);
});

it('takes a layer in the second look, when its grace is over and nothing has come to need it', async () => {
  const organizationId = await api.addOrganization();
  const key = await api.addKey(organizationId, { isAdmin: true });
  const collect = async (body?: object) =>
    (await api.ask('POST', '/api/admin/gc', { key, body })).body.items.map(({ id }: { id: string }) => id).sort();
  for (const id of ['1', '2', '3']) await add(id);
  expect(await collect()).toEqual([]);
  await age(599);
  expect(await collect()).toEqual([]);
  await needing(organizationId, [layer('1')]);
  await age(601);
  expect(await collect()).toEqual([layer('2'), layer('3')]);
  expect(await api.db.selectFrom('garbage_marks').selectAll().execute()).toEqual([]);

  // What is needed again and then not any more begins anew.
  await api.db.deleteFrom('snapshots').execute();
  expect(await collect()).toEqual([]);
  expect(await collect({ withoutGrace: true })).toEqual([layer('1'), layer('a')]);
});

it('a mark of the time before the clock was put back does not keep a layer for longer than its grace', async () => {
  await add('4');
  await api.garbage.collect({ withoutGrace: false });
  await age(-3600);
  await api.garbage.collect({ withoutGrace: false });
  const [mark] = await api.db.selectFrom('garbage_marks').select('marked_at').execute();
  expect(mark?.marked_at.getTime()).toBeLessThanOrEqual(Date.now() + 1000);
});

it('clears the build cache of one organization, or of all', async () => {
  const [one, other] = [await api.addOrganization(), await api.addOrganization()];
  const key = await api.addKey(one, { isAdmin: true });
  await api.db.deleteFrom('base_images').execute();
  await baseImage(one, [layer('5')]);
  await baseImage(other, [layer('5')]);
  const clear = (query: string) => api.ask('DELETE', `/api/admin/build-cache${query}`, { key });
  expect((await clear(`?organizationId=${one}`)).body).toEqual({ removed: 1 });
  expect((await clear('')).body).toEqual({ removed: 1 });
  expect((await clear('?organizationId=x')).status).toBe(400);
});

it('is for operators', async () => {
  const key = await api.addKey(await api.addOrganization());
  for (const [method, url] of [
    ['GET', '/api/admin/gc'],
    ['POST', '/api/admin/gc'],
    ['DELETE', '/api/admin/build-cache'],
  ] as const) {
    expect((await api.ask(method, url, { key })).status).toBe(403);
  }
});

it('forgets marks of more things than a statement has parameters', async () => {
  const mark = { runnerId: 'test', kind: 'build-log' } as const;
  await remark(api.db, { ...mark, graceSeconds: 60 }, [
    { id: '1', why: 'x' },
    { id: 'other', why: 'x' },
  ]);
  const ids = Array.from({ length: 70_000 }, (_, index) => String(index));
  await forgetMarks(api.db, mark, ids);
  expect([...(await readMarks(api.db, mark)).keys()]).toEqual(['other']);
});
