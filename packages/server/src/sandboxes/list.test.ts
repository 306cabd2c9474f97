import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertSandbox, type NewSandbox } from '../lifecycle/move.ts';
import { addOrganization, newSandbox } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { type ListRequest, listSandboxes } from './list.ts';

const ANY = { cpu: {}, memory: {}, disk: {}, createdAt: {}, lastActivityAt: {} };

let database: TestDatabase;
let organizationId: string;

beforeAll(async () => {
  database = await startTestDatabase();
  organizationId = await addOrganization(database.db);
  const other = await addOrganization(database.db, 'other');
  await add({ name: 'alpha', cpu: 1, labels: '{"team":"a","x":"1"}', image: '{"sandboxClass":"gvisor"}' });
  await add({ name: 'beta', cpu: 2, labels: '{"team":"b"}', snapshot_name: 'python' });
  await add({ name: 'Gamma', cpu: 2, is_public: true });
  await add({ name: 'delta', cpu: 3 });
  await insertSandbox(database.db, newSandbox(other, { name: 'foreign' }), { actor: 'test' });
}, 60_000);
afterAll(() => database?.stop());

function add(values: Partial<NewSandbox>) {
  return insertSandbox(database.db, newSandbox(organizationId, values), { actor: 'test' });
}

async function page(request: Partial<ListRequest>) {
  const caller = { organizationId, actor: 'test' };
  const { rows, nextCursor } = await listSandboxes({ db: database.db }, caller, { ...ANY, ...request });
  return { names: rows.map((row) => row.name), nextCursor };
}
const names = async (request: Partial<ListRequest>) => (await page(request)).names;

test('an organization sees its own, newest first', async () => {
  expect(await names({})).toEqual(['delta', 'Gamma', 'beta', 'alpha']);
});

test.each(['name', 'cpu', 'memory', 'createdAt', 'lastActivityAt'] as const)(
  'following the cursors over %s gives each sandbox once, in both directions',
  async (sort) => {
    for (const order of ['asc', 'desc'] as const) {
      const whole = await names({ sort, order });
      const seen: string[] = [];
      let cursor: string | undefined;
      do {
        const next = await page({ sort, order, limit: 1, cursor });
        seen.push(...next.names);
        cursor = next.nextCursor ?? undefined;
      } while (cursor !== undefined && seen.length < 10);
      expect(seen).toEqual(whole);
    }
  },
);

test('a page that holds everything has no next one', async () => {
  expect((await page({ limit: 4 })).nextCursor).toBeNull();
});

test('filters narrow the list', async () => {
  expect(await names({ labels: '{"team":"a"}' })).toEqual(['alpha']);
  expect(await names({ namePrefix: 'ga' })).toEqual(['Gamma']);
  expect(await names({ snapshots: ['python'] })).toEqual(['beta']);
  expect(await names({ isPublic: true })).toEqual(['Gamma']);
  expect(await names({ cpu: { min: 2, max: 2 } })).toEqual(['Gamma', 'beta']);
  expect(await names({ states: ['started'] })).toEqual([]);
  expect(await names({ states: ['creating', 'nonsense'], limit: 1 })).toEqual(['delta']);
  expect(await names({ classes: ['linux-vm'] })).toEqual([]);
  expect(await names({ classes: ['gvisor', 'linux-vm'] })).toEqual(['alpha']);
  expect(await names({ classes: ['container'], cpu: { max: 1 } })).toEqual([]);
  expect(await names({ createdAt: { max: new Date(0) } })).toEqual([]);
});

test.each([
  'x',
  'bm90IGpzb24',
  Buffer.from('[]').toString('base64url'),
  Buffer.from('["createdAt","desc","yesterday","00000000-0000-0000-0000-000000000000"]').toString('base64url'),
  Buffer.from('["createdAt","desc","2026-01-01 00:00:00+00","1"]').toString('base64url'),
])('the cursor %s is refused', async (cursor) => {
  await expect(page({ cursor })).rejects.toThrow('Invalid cursor');
});

test('a cursor of another order is refused', async () => {
  const { nextCursor } = await page({ limit: 1, sort: 'name' });
  await expect(page({ cursor: nextCursor ?? '', sort: 'cpu' })).rejects.toThrow('another order');
});
