import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { addOrganization, newSandbox, newSnapshot } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { insertSandbox, insertSandboxes, insertSnapshot, moveSandbox, moveSnapshot } from './move.ts';

let database: TestDatabase;
let organizationId: string;

beforeAll(async () => {
  database = await startTestDatabase();
}, 60_000);
afterAll(() => database?.stop());
beforeEach(async () => {
  await database.reset();
  organizationId = await addOrganization(database.db);
});

const eventsOf = (id: string) =>
  database.db
    .selectFrom('events')
    .select(['from_state', 'to_state', 'actor', 'reason'])
    .where('subject_id', '=', id)
    .orderBy('id')
    .execute();

const complete = { layers: ['sha256:a'], image: '{}', size_bytes: 3_000_000_000 };

test('a new snapshot has its first state, a deadline and an event', async () => {
  const row = await insertSnapshot(database.db, newSnapshot(organizationId), { actor: 'user:1' });
  expect(row).toMatchObject({ state: 'pending', owner_id: null, error_reason: null });
  expect(row.deadline_at?.getTime()).toBe(row.state_entered_at.getTime() + 3_600_000);
  expect(await eventsOf(row.id)).toEqual([{ from_state: null, to_state: 'pending', actor: 'user:1', reason: null }]);
});

test('several new sandboxes are written in their order, each with an event of its own', async () => {
  const all = Array.from({ length: 35 }, () => newSandbox(organizationId, { id: crypto.randomUUID() }));
  const rows = await insertSandboxes(database.db, all, { actor: 'user:1' });
  expect(rows.map(({ id, name }) => [id, name])).toEqual(all.map(({ id, name }) => [id, name]));
  const events = await database.db.selectFrom('events').select(['subject_id', 'to_state']).orderBy('id').execute();
  expect(events.map(({ subject_id }) => subject_id).sort()).toEqual(all.map(({ id }) => id).sort());
});

test('a move out of one of the named states gives the row and where it came from', async () => {
  const { db } = database;
  const { id } = await insertSnapshot(db, newSnapshot(organizationId), { actor: 'user:1' });
  const ownerId = crypto.randomUUID();
  const pulling = await moveSnapshot(db, id, {
    from: ['pending'],
    to: 'pulling',
    actor: 'job',
    ownerId,
    durable: false,
  });
  expect(pulling).toMatchObject({ state: 'pulling', from_state: 'pending', owner_id: ownerId });
  const active = await moveSnapshot(db, id, { from: ['pulling'], to: 'active', actor: 'job', set: complete });
  expect(active).toMatchObject({
    state: 'active',
    owner_id: null,
    deadline_at: null,
    size_bytes: 3_000_000_000,
    layers: ['sha256:a'],
  });
  expect((await eventsOf(id)).map((event) => event.to_state)).toEqual(['pending', 'pulling', 'active']);
});

test('a move out of another state changes nothing and says so', async () => {
  const { db } = database;
  const { id } = await insertSnapshot(db, newSnapshot(organizationId), { actor: 'user:1' });
  expect(await moveSnapshot(db, id, { from: ['pulling'], to: 'active', actor: 'job', set: complete })).toBeUndefined();
  expect(
    await moveSnapshot(db, crypto.randomUUID(), { from: ['pending'], to: 'removing', actor: 'x' }),
  ).toBeUndefined();
  expect(await eventsOf(id)).toHaveLength(1);
});

test('gone deletes the row and keeps its history', async () => {
  const { db } = database;
  const { id } = await insertSnapshot(db, newSnapshot(organizationId), { actor: 'user:1' });
  await moveSnapshot(db, id, { from: ['pending'], to: 'removing', actor: 'user:1' });
  expect(await moveSnapshot(db, id, { from: ['removing'], to: 'gone', actor: 'system' })).toMatchObject({
    from_state: 'removing',
  });
  expect(await db.selectFrom('snapshots').selectAll().execute()).toEqual([]);
  expect((await eventsOf(id)).at(-1)).toMatchObject({ from_state: 'removing', to_state: 'gone' });
});

test('a failed state has its reason and code, and leaving it clears them', async () => {
  const { db } = database;
  const { id } = await insertSandbox(db, newSandbox(organizationId), { actor: 'user:1' });
  const failed = await moveSandbox(db, id, {
    from: ['creating'],
    to: 'error',
    actor: 'system',
    reason: 'no space',
    errorCode: 'insufficient_storage',
  });
  expect(failed).toMatchObject({ error_reason: 'no space', error_code: 'insufficient_storage' });
  const again = await moveSandbox(db, id, { from: ['error'], to: 'starting', actor: 'user:1' });
  expect(again).toMatchObject({ state: 'starting', error_reason: null, error_code: null });
});

test('a step that is not in the table, and a failure without a reason, do not compile', () => {
  const misuse = () => {
    // @ts-expect-error active cannot become pulling
    void moveSnapshot(database.db, 'x', { from: ['active'], to: 'pulling', actor: 'x' });
    // @ts-expect-error an error needs a reason
    void moveSnapshot(database.db, 'x', { from: ['pending'], to: 'error', actor: 'x' });
    // @ts-expect-error state columns are written by the move alone
    void moveSandbox(database.db, 'x', { from: ['creating'], to: 'started', actor: 'x', set: { state: 'error' } });
  };
  expect(misuse).toBeTypeOf('function');
});
