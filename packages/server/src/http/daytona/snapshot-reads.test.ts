import { snapshotPageSchema, snapshotSchema } from '@darkroom/contract';
import type { ValidateFunction } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { insertSnapshot, moveSnapshot, type NewSnapshot, type SnapshotRow } from '../../lifecycle/move.ts';
import { newSnapshot } from '../../test-support/rows.ts';
import { loadSnapshotSchema, startTestApi, type TestApi } from '../../test-support/test-api.ts';
import { snapshotDto } from './snapshot-json.ts';

let api: TestApi;
let isSnapshot: ValidateFunction;
let organizationId: string;
let key: string;
beforeAll(async () => {
  api = await startTestApi();
  isSnapshot = await loadSnapshotSchema();
}, 60_000);
afterAll(() => api?.stop());
beforeEach(async () => {
  // What other tests made general would be seen here.
  await api.db.deleteFrom('snapshots').execute();
  organizationId = await api.addOrganization();
  key = await api.addKey(organizationId);
});

const COMPLETE = { layers: ['sha256:a'], image: '{}', size_bytes: 3 * 2 ** 30 };
const add = (values: Partial<NewSnapshot> = {}, owner = organizationId): Promise<SnapshotRow> =>
  insertSnapshot(api.db, newSnapshot(owner, { state: 'active', ...COMPLETE, ...values }), { actor: 'test' });
const get = (idOrName: string) => api.ask('GET', `/api/snapshots/${encodeURIComponent(idOrName)}`, { key });
const list = async (query = '') => (await api.ask('GET', `/api/snapshots${query}`, { key })).body;
const names = async (query = '') => (await list(query)).items.map(({ name }: { name: string }) => name);

describe('one snapshot', () => {
  it.each<[string, Partial<NewSnapshot>]>([
    [
      'with everything',
      {
        entrypoint: ['a "b"', 'c\\d\n'],
        ref: 'r@sha256:1',
        runner_id: 'r1',
        last_used_at: new Date(),
        source_sandbox_id: crypto.randomUUID(),
      },
    ],
    ['with as little as can be', { image_name: null, state: 'pending' }],
    ['of fractions', { cpu: 0.5, mem: 0.25, size_bytes: 123_456_789 }],
    ['of names that JSON must escape', { image_name: 'x"\\\u0001é😀:1', region_id: 'local' }],
  ])('%s is the same from the database as from the row, and what clients read', async (_what, values) => {
    const row = await add(values);
    const { body } = await get(row.id);
    expect(body).toEqual(snapshotDto(row));
    expect(snapshotSchema.parse(body)).toEqual(body);
    expect(isSnapshot(body), JSON.stringify(isSnapshot.errors)).toBe(true);
  });

  it('is found by a name with slashes, colons and signs in one segment, also with doubled slashes in front', async () => {
    await add({ name: 'my/snap:1' });
    const { body } = await api.ask('GET', '//api//snapshots/my%2Fsnap%3A1', { key });
    expect(body.name).toBe('my/snap:1');
  });

  it('prefers an own one by name to a general one, and an own one by id to all', async () => {
    const other = await api.addOrganization();
    const general = await add({ name: 'base', general: true }, other);
    expect((await get('base')).body.id).toBe(general.id);
    const own = await add({ name: 'base' });
    expect((await get('base')).body.id).toBe(own.id);
    expect((await get(general.id)).body.id).toBe(general.id);
    const namedLikeAnId = await add({ name: general.id });
    expect((await get(general.id)).body.id).toBe(namedLikeAnId.id);
    const mine = await add({ name: 'own' });
    const namedLikeOwn = await add({ name: mine.id.toUpperCase() });
    expect((await get(mine.id)).body.id).toBe(mine.id);
    expect((await get(mine.id.toUpperCase())).body.id, 'whatever the case of the id').toBe(mine.id);
    expect((await get(namedLikeOwn.id)).body.id).toBe(namedLikeOwn.id);
  });

  it('of another organization is not there', async () => {
    const other = await add({ name: 'theirs' }, await api.addOrganization());
    for (const idOrName of ['theirs', other.id]) {
      const { status, body } = await get(idOrName);
      expect([status, body.message]).toEqual([404, `Snapshot with name ${idOrName} not found`]);
    }
  });

  it.each(['nothing', '%00', 'a'.repeat(3000), '%F0%9F%98%80'])('is 404 for %s', async (name) => {
    expect((await api.ask('GET', `/api/snapshots/${name}`, { key })).status).toBe(404);
  });

  it('is never an older one than the last change', async () => {
    const { id } = await add();
    expect((await get(id)).body.state).toBe('active');
    await moveSnapshot(api.db, id, { from: ['active'], to: 'inactive', actor: 'test' });
    expect((await get(id)).body.state).toBe('inactive');
    await moveSnapshot(api.db, id, { from: ['inactive'], to: 'removing', actor: 'test' });
    expect((await get(id)).status).toBe(404);
  });
});

describe('the list', () => {
  it('of nothing is an empty page', async () => {
    expect(await list()).toEqual({ items: [], total: 0, page: 1, totalPages: 0 });
  });

  it('has own snapshots first and then the general ones of others, over the borders of pages', async () => {
    const other = await api.addOrganization();
    for (const name of ['g1', 'g2', 'g3']) await add({ name, general: true }, other);
    await add({ name: 'theirs' }, other);
    for (const name of ['own2', 'own1']) await add({ name });
    const query = (page: number) => `?sort=name&order=asc&limit=2&page=${page}`;
    expect(await list(query(1))).toMatchObject({ total: 5, page: 1, totalPages: 3 });
    expect([await names(query(1)), await names(query(2)), await names(query(3)), await names(query(4))]).toEqual([
      ['own1', 'own2'],
      ['g1', 'g2'],
      ['g3'],
      [],
    ]);
    expect(await names('?sort=name&order=asc&limit=3')).toEqual(['own1', 'own2', 'g1']);
    const page = await list();
    expect(snapshotPageSchema.parse(page)).toEqual(page);
  });

  it('is in the order that is asked for, with nulls last both ways', async () => {
    const at = (seconds: number) => new Date(1_700_000_000_000 + seconds * 1000);
    await add({ name: 'b', created_at: at(1), last_used_at: at(9) });
    await add({ name: 'a', created_at: at(2), last_used_at: null });
    await add({ name: 'c', created_at: at(3), last_used_at: at(8), state: 'pending' });
    await add({ name: 'd', created_at: at(4), last_used_at: null });
    const expected = {
      '': 'b c d a',
      '?order=asc': 'c b d a',
      '?sort=name': 'd c b a',
      '?sort=name&order=asc': 'a b c d',
      '?sort=createdAt': 'd c a b',
      '?sort=createdAt&order=asc': 'b a c d',
      '?sort=state': 'c d a b',
      '?sort=state&order=asc': 'd a b c',
    };
    for (const [query, order] of Object.entries(expected)) expect((await names(query)).join(' '), query).toBe(order);
  });

  it('finds a part of a name, whatever its case, and takes signs as they stand', async () => {
    for (const name of ['Team/App', 'team/other', '100', 'a_b', 'axb']) await add({ name });
    expect((await names('?name=TEAM&sort=name&order=asc')).sort()).toEqual(['Team/App', 'team/other']);
    expect(await names('?name=a_b')).toEqual(['a_b']);
    expect(await list('?name=%25')).toMatchObject({ items: [], total: 0, totalPages: 0 });
    expect(await list('?name=team&limit=1')).toMatchObject({ total: 2, totalPages: 2 });
  });

  it('finds what was made from a sandbox', async () => {
    const sandbox = crypto.randomUUID();
    await add({ name: 'captured', source_sandbox_id: sandbox });
    await add();
    expect(await names(`?sourceSandboxId=${sandbox}`)).toEqual(['captured']);
    expect(await names('?sourceSandboxId=none')).toEqual([]);
  });

  it('is never older than the last change, of own ones and of general ones', async () => {
    const mine = await add({ name: 'mine' });
    const other = await api.addOrganization();
    const theirs = await add({ name: 'theirs' }, other);
    expect(await names()).toEqual(['mine']);
    await api.db.updateTable('snapshots').set({ general: true }).where('id', '=', theirs.id).execute();
    expect(await names()).toEqual(['mine', 'theirs']);
    await moveSnapshot(api.db, mine.id, { from: ['active'], to: 'removing', actor: 'test' });
    expect(await names()).toEqual(['theirs']);
    await api.db.updateTable('snapshots').set({ general: false }).where('id', '=', theirs.id).execute();
    expect(await names()).toEqual([]);
    await add({ name: 'new' });
    expect(await names()).toEqual(['new']);
  });

  it.each([
    'page=0',
    'page=x',
    'page=1.5',
    'page=',
    'limit=0',
    'limit=201',
    'limit=1&limit=2',
    'sort=size',
    'order=up',
    'name=%00',
  ])('refuses %s', async (query) => {
    const { status, body } = await api.ask('GET', `/api/snapshots?${query}`, { key });
    expect([status, typeof body.message]).toEqual([400, 'string']);
  });

  it('answers for a page beyond every number', async () => {
    expect((await list('?page=9007199254740991&limit=200')).items).toEqual([]);
  });
});
