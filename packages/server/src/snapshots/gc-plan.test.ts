import { Readable } from 'node:stream';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { insertSnapshot } from '../lifecycle/move.ts';
import { newSnapshot } from '../test-support/rows.ts';
import { startTestApi, type TestApi } from '../test-support/test-api.ts';
import { planGarbage } from './gc-plan.ts';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
}, 60_000);
afterAll(() => api?.stop(), 60_000);

const layer = (id: string) => `sha256:${id.repeat(64)}`;
const add = (id: string) => api.layers.add(layer(id), async () => ({ sizeBytes: 100 }), new AbortController().signal);

it('lists what would go and why, and takes nothing', async () => {
  const organizationId = await api.addOrganization();
  for (const id of ['a', 'b', 'c']) await add(id);
  const values = { state: 'active', image: '{}', size_bytes: 1 } as const;
  await insertSnapshot(api.db, newSnapshot(organizationId, { ...values, layers: [layer('a')] }), { actor: 'test' });
  await api.db
    .insertInto('base_images')
    .values({
      ...{ organization_id: organizationId, runner_id: 'test', reference: 'x', platform: 'linux/amd64', resolved: 'x' },
      ...{ layers: [layer('b')], config: '{}', size_bytes: 1, resolved_at: new Date(), last_used_at: new Date() },
    })
    .execute();
  const hash = 'd'.repeat(64);
  await api.contexts.put({ organizationId, hash }, { size: 3, stream: Readable.from([Buffer.from('tar')]) });

  const admin = await api.addKey(organizationId, { isAdmin: true });
  const { status, body } = await api.ask('GET', '/api/admin/gc', { key: admin });
  expect(status).toBe(200);
  expect(body.items).toEqual([
    { kind: 'layer', id: layer('b'), sizeBytes: 100, goes: 'pressure', why: expect.stringContaining('build cache') },
    { kind: 'layer', id: layer('c'), sizeBytes: 100, goes: 'sweep', why: expect.stringContaining('no snapshot') },
  ]);
  expect((await api.layers.list()).length).toBe(3);

  const { db, layers, contexts, builds: logs } = api;
  using _hold = layers.hold();
  await layers.get(layer('c'));
  const all = await planGarbage({ db, layers, contexts, logs, unusedContextDays: -1 });
  expect(all).toContainEqual(expect.objectContaining({ id: layer('c'), goes: 'held' }));
  expect(all).toContainEqual(expect.objectContaining({ kind: 'context', id: hash, organizationId, sizeBytes: 3 }));
});

it('is for operators', async () => {
  const key = await api.addKey(await api.addOrganization());
  expect((await api.ask('GET', '/api/admin/gc', { key })).status).toBe(403);
});
