import { sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { type Listener, openListener } from './db/listener.ts';
import { createEventBus, type EventBus, STATE_CHANNEL, type StateChange } from './events.ts';

const log = pino({ level: 'silent' });
let database: TestDatabase;
let listener: Listener;
let bus: EventBus;

beforeAll(async () => {
  database = await startTestDatabase();
  listener = await openListener(database.connection, log);
  bus = await createEventBus(listener);
}, 60_000);
afterAll(async () => {
  await bus?.close();
  await listener?.close();
  await database?.stop();
});

const announce = (id: string, to: string) =>
  sql`select pg_notify(${STATE_CHANNEL}, ${JSON.stringify(['sandbox', id, 'org', null, to])})`;

test('a change is seen at its commit, not before, and not after a rollback', async () => {
  const seen: StateChange[] = [];
  const unsubscribe = bus.subscribe((change) => seen.push(change));
  const rolledBack = database.db.transaction().execute(async (trx) => {
    await announce('a', 'lost').execute(trx);
    throw new Error('undo');
  });
  await expect(rolledBack).rejects.toThrow('undo');
  await database.db.transaction().execute(async (trx) => {
    await announce('a', 'kept').execute(trx);
    expect(seen).toEqual([]);
  });
  await bus.waitFor('a', async () => (seen.length > 0 ? true : undefined), { timeoutMs: 5_000 });
  unsubscribe();
  expect(seen).toEqual([{ subjectType: 'sandbox', subjectId: 'a', organizationId: 'org', from: null, to: 'kept' }]);
});

test('a wait asks again after each change of its subject and ends with the first answer', async () => {
  let state = 'pending';
  const asked: string[] = [];
  const waiting = bus.waitFor(
    'b',
    async () => {
      asked.push(state);
      return state === 'active' ? state : undefined;
    },
    { timeoutMs: 5_000 },
  );
  state = 'active';
  await announce('b', 'active').execute(database.db);
  expect(await waiting).toBe('active');
  expect(asked.at(0)).toBe('pending');
});

test('a change during a check is not missed', async () => {
  const started = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  let calls = 0;
  const waiting = bus.waitFor(
    'c',
    async () => {
      calls++;
      if (calls > 1) return 'second';
      started.resolve();
      await finish.promise;
      return undefined;
    },
    { timeoutMs: 5_000 },
  );
  await started.promise;
  const delivered = Promise.withResolvers<void>();
  const unsubscribe = bus.subscribe(() => delivered.resolve());
  await announce('c', 'x').execute(database.db);
  await delivered.promise;
  unsubscribe();
  finish.resolve();
  expect(await waiting).toBe('second');
});

test('a wait that nothing ends raises a timeout, and an abort its reason', async () => {
  const never = async () => undefined;
  await expect(bus.waitFor('d', never, { timeoutMs: 20 })).rejects.toMatchObject({ code: 'timeout' });
  await expect(bus.waitFor('d', () => new Promise(() => {}), { timeoutMs: 20 })).rejects.toMatchObject({
    code: 'timeout',
  });
  const signal = AbortSignal.abort(new Error('client went away'));
  await expect(bus.waitFor('d', never, { timeoutMs: 5_000, signal })).rejects.toThrow('client went away');
  await expect(bus.waitFor('d', () => Promise.reject(new Error('broken')), { timeoutMs: 5_000 })).rejects.toThrow(
    'broken',
  );
});

test('after the connection broke, waiters look again and messages arrive again', async () => {
  let state = 'pending';
  const waiting = bus.waitFor('e', async () => (state === 'active' ? state : undefined), { timeoutMs: 10_000 });
  const kill = sql`select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'darkroom-listener' and datname = current_database()`;
  await kill.execute(database.db);
  // Changed without a message, as if it had been sent while nobody listened.
  state = 'active';
  expect(await waiting).toBe('active');
  const again = bus.waitFor('f', async () => (state === 'started' ? state : undefined), { timeoutMs: 10_000 });
  state = 'started';
  await announce('f', 'started').execute(database.db);
  expect(await again).toBe('started');
});
