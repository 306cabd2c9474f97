import { type RawBuilder, sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { createClockWatch } from './clock-watch.ts';
import { type Listener, openListener } from './db/listener.ts';
import { DarkroomError } from './errors.ts';
import { type Instance, openInstance } from './instance.ts';
import { createJobQueue } from './job-queue.ts';
import { dueNames } from './job-runs.ts';
import { settleJobTimes } from './job-times.ts';
import type { JobContext, JobQueue } from './jobs.ts';

const log = pino({ level: 'silent' });
let database: TestDatabase;
let listener: Listener;
const open: { queue: JobQueue; instance: Instance }[] = [];

beforeAll(async () => {
  database = await startTestDatabase();
  listener = await openListener(database.connection, log);
}, 60_000);
afterAll(async () => {
  await listener?.close();
  await database?.stop();
});
beforeEach(() => database.reset());
afterEach(async () => {
  for (const { queue, instance } of open.splice(0)) {
    await queue.stop({ graceMs: 1_000 });
    await instance.close();
  }
  await sql`truncate pgboss.job`.execute(database.db);
}, 30_000);

async function openQueue(runnerId = crypto.randomUUID()): Promise<JobQueue> {
  const clock = createClockWatch(database.db, log);
  const instance = await openInstance({ clock, db: database.db, runnerId, log });
  const queue = createJobQueue({ db: database.db, listener, instance, clock, log });
  await queue.start();
  open.push({ queue, instance });
  return queue;
}

const send = (queue: JobQueue, id: string) =>
  database.db.transaction().execute((trx) => queue.enqueue(trx, 'snapshot.pull', id, { snapshotId: id }));

const untilAborted = ({ signal }: JobContext) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

test('a job runs once its transaction has committed, within much less than a poll', async () => {
  const queue = await openQueue();
  const ran = Promise.withResolvers<string>();
  await queue.work('snapshot.pull', { concurrency: 2 }, async ({ snapshotId }) => ran.resolve(snapshotId));
  const undone = database.db.transaction().execute(async (trx) => {
    await queue.enqueue(trx, 'snapshot.pull', 'never', { snapshotId: 'never' });
    throw new Error('undo');
  });
  await expect(undone).rejects.toThrow('undo');
  await send(queue, 'a');
  expect(await ran.promise).toBe('a');
});

test('many jobs that come at once are worked off without waiting for a poll', async () => {
  const queue = await openQueue();
  const ids = Array.from({ length: 30 }, (_, index) => `job-${index}`);
  const left = new Set(ids);
  const all = Promise.withResolvers<void>();
  await queue.work('snapshot.pull', { concurrency: 2 }, async ({ snapshotId }) => {
    left.delete(snapshotId);
    if (left.size === 0) all.resolve();
  });
  await Promise.all(ids.map((id) => send(queue, id)));
  // The test's own limit is shorter than two polls.
  await all.promise;
}, 30_000);

test('what can be retried is tried again, until it succeeds', async () => {
  const queue = await openQueue();
  const attempts: number[] = [];
  const done = Promise.withResolvers<void>();
  await queue.work('snapshot.pull', { concurrency: 1 }, async (_data, { attempt }) => {
    attempts.push(attempt);
    if (attempt === 1) throw new DarkroomError('image_unavailable', 'the registry is down', { retryable: true });
    done.resolve();
  });
  await send(queue, 'a');
  await done.promise;
  expect(attempts).toEqual([1, 2]);
  const { rows } = await sql<{ waited: number }>`
    select extract(epoch from start_after - created_on)::float8 as waited from pgboss.job`.execute(database.db);
  expect(rows[0]?.waited, 'not at once').toBeGreaterThan(0.4);
});

test('what cannot be retried ends at once, and the next job runs', async () => {
  const queue = await openQueue();
  const seen: string[] = [];
  const done = Promise.withResolvers<void>();
  await queue.work('snapshot.pull', { concurrency: 1 }, async ({ snapshotId }) => {
    seen.push(snapshotId);
    if (snapshotId === 'bad') throw new DarkroomError('image_invalid', 'wrong digest');
    done.resolve();
  });
  await send(queue, 'bad');
  await send(queue, 'good');
  await done.promise;
  expect(seen).toEqual(['bad', 'good']);
  const { rows } =
    await sql`select state, output->>'message' as message from pgboss.job where singleton_key = 'bad'`.execute(
      database.db,
    );
  expect(rows).toEqual([{ state: 'failed', message: 'wrong digest' }]);
});

test('one job of a key runs at a time, and one that was asked for meanwhile runs afterwards', async () => {
  const queue = await openQueue();
  const other = await openQueue();
  let now = 0;
  let most = 0;
  let runs = 0;
  const first = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  const handler = async () => {
    most = Math.max(most, ++now);
    first.resolve();
    await go.promise;
    now--;
    if (++runs === 3) done.resolve();
  };
  for (const each of [queue, other]) await each.work('snapshot.pull', { concurrency: 2 }, handler);
  await send(queue, 'a');
  await first.promise;
  await send(queue, 'a');
  await send(other, 'a');
  go.resolve();
  await done.promise;
  expect(most).toBe(1);
}, 30_000);

test('cancel ends a running job on another server through its signal, and a waiting one before it runs', async () => {
  const worker = await openQueue();
  const elsewhere = await openQueue();
  const started = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<unknown>();
  const seen: string[] = [];
  const last = Promise.withResolvers<void>();
  await worker.work('snapshot.pull', { concurrency: 1 }, async ({ snapshotId }, context) => {
    seen.push(snapshotId);
    if (snapshotId === 'last') return last.resolve();
    started.resolve();
    await untilAborted(context).catch(ended.resolve);
  });
  await send(elsewhere, 'running');
  await started.promise;
  await send(elsewhere, 'waiting');
  await elsewhere.cancel('snapshot.pull', 'waiting');
  await elsewhere.cancel('snapshot.pull', 'running');
  expect(await ended.promise).toMatchObject({ code: 'conflict' });
  await send(elsewhere, 'last');
  await last.promise;
  expect(seen).toEqual(['running', 'last']);
  await elsewhere.cancel('snapshot.pull', 'nothing of this name');
});

test('a server that stops gives its jobs back, and the next one takes them up at once', async () => {
  const runnerId = crypto.randomUUID();
  const first = await openQueue(runnerId);
  const started = Promise.withResolvers<void>();
  await first.work('snapshot.pull', { concurrency: 1 }, async (_data, context) => {
    started.resolve();
    await untilAborted(context);
  });
  await send(first, 'a');
  await started.promise;
  await first.stop({ graceMs: 5_000 });
  const next = await openQueue(runnerId);
  const ran = Promise.withResolvers<JobContext>();
  await next.work('snapshot.pull', { concurrency: 1 }, async (_data, context) => ran.resolve(context));
  expect(await ran.promise).toMatchObject({ attempt: 1, isLastAttempt: false });
}, 30_000);

test('a server that stops gives back also a job that was at its last attempt', async () => {
  const runnerId = crypto.randomUUID();
  const first = await openQueue(runnerId);
  await send(first, 'a');
  await sql`update pgboss.job set state = 'retry', retry_count = retry_limit - 1, started_on = now()`.execute(
    database.db,
  );
  const started = Promise.withResolvers<JobContext>();
  await first.work('snapshot.pull', { concurrency: 1 }, async (_data, context) => {
    started.resolve(context);
    await untilAborted(context);
  });
  expect(await started.promise).toMatchObject({ isLastAttempt: true });
  await first.stop({ graceMs: 5_000 });
  const next = await openQueue(runnerId);
  const ran = Promise.withResolvers<JobContext>();
  await next.work('snapshot.pull', { concurrency: 1 }, async (_data, context) => ran.resolve(context));
  expect(await ran.promise).toMatchObject({ attempt: 5, isLastAttempt: true });
}, 30_000);

test('a job of a server that died is taken up by the next start of its runner, without waiting for the heartbeat', async () => {
  const runnerId = crypto.randomUUID();
  const dead = await openQueue(runnerId);
  const started = Promise.withResolvers<void>();
  const hang = Promise.withResolvers<void>();
  await dead.work('snapshot.pull', { concurrency: 1 }, async () => {
    started.resolve();
    await hang.promise;
  });
  await send(dead, 'a');
  await started.promise;
  const next = await openQueue(runnerId);
  const ran = Promise.withResolvers<number>();
  await next.work('snapshot.pull', { concurrency: 1 }, async (_data, { attempt }) => ran.resolve(attempt));
  expect(await ran.promise).toBe(2);
  hang.resolve();
}, 30_000);

test('a job that was handed out and not begun is taken up as well, where no other server could have it', async () => {
  const first = await openQueue();
  await send(first, 'a');
  // As a server that is killed between the two leaves it.
  await sql`update pgboss.job set state = 'active', started_on = now(), heartbeat_on = now()`.execute(database.db);
  const [dead] = open.splice(0);
  await dead?.queue.stop({ graceMs: 1_000 });
  await dead?.instance.close();
  const next = await openQueue();
  const ran = Promise.withResolvers<string>();
  await next.work('snapshot.pull', { concurrency: 1 }, async ({ snapshotId }) => ran.resolve(snapshotId));
  // The test's own limit is shorter than the heartbeat's.
  expect(await ran.promise).toBe('a');
}, 15_000);

/** Every change of a job is refused, as by a disk that is full. */
const fillDisk = () =>
  sql`
    create sequence refusals;
    create function disk_full() returns trigger language plpgsql as
      $$ begin perform nextval('refusals'); raise exception 'could not extend file' using errcode = '53100'; end $$;
    create trigger disk_full before update on pgboss.job for each row execute function disk_full()`.execute(
    database.db,
  );
const makeRoom = () =>
  sql`drop function if exists disk_full() cascade; drop sequence if exists refusals`.execute(database.db);
/** A sequence goes on also where the transaction does not. */
const refusals = async () =>
  (await sql<{ count: string }>`select last_value as count from refusals`.execute(database.db)).rows[0]?.count;

test('a job that fails while the database cannot be written to is tried again as soon as it can, also after its last attempt', async () => {
  const queue = await openQueue();
  await send(queue, 'a');
  await sql`update pgboss.job set state = 'retry', retry_count = retry_limit - 1, started_on = now()`.execute(
    database.db,
  );
  const contexts: JobContext[] = [];
  const full = Promise.withResolvers<void>();
  const again = Promise.withResolvers<void>();
  try {
    await queue.work('snapshot.pull', { concurrency: 1 }, async (_data, context) => {
      if (contexts.push(context) === 2) return again.resolve();
      await fillDisk();
      full.resolve();
      await sql`update pgboss.job set output = '{}'`.execute(database.db);
    });
    await full.promise;
    // That of the job itself, and then of what gives it back.
    await vi.waitFor(async () => expect(Number(await refusals())).toBeGreaterThan(2), { timeout: 5_000 });
  } finally {
    await makeRoom();
  }
  await again.promise;
  expect(contexts).toMatchObject([
    { attempt: 5, isLastAttempt: true },
    { attempt: 5, isLastAttempt: true },
  ]);
}, 15_000);

test('after the clock was set back, what waits does so no longer than it would have, and is handed out by itself', async () => {
  const queue = await openQueue();
  for (const id of ['new', 'tried-thrice', 'tried-often', 'running']) await send(queue, id);
  const set = (id: string, values: RawBuilder<unknown>) =>
    sql`update pgboss.job set ${values} where singleton_key = ${id}`.execute(database.db);
  const later = sql`now() + interval '1 hour'`;
  await set('new', sql`start_after = ${later}`);
  await set('tried-thrice', sql`state = 'retry', retry_count = 3, start_after = ${later}`);
  await set('tried-often', sql`state = 'retry', retry_count = 3000, start_after = ${later}`);
  await set('running', sql`state = 'active', started_on = ${later}, heartbeat_on = ${later}`);
  const seconds = async () => {
    const { rows } = await sql<{ key: string; seconds: number }>`select singleton_key as key,
      extract(epoch from case state when 'active' then started_on else start_after end - clock_timestamp())::float8 as seconds
      from pgboss.job`.execute(database.db);
    return Object.fromEntries(rows.map(({ key, seconds }) => [key, seconds]));
  };
  const about = (value: number) => expect.closeTo(value, -1);
  const hour = about(3600);
  expect(await seconds()).toEqual({ new: hour, 'tried-thrice': hour, 'tried-often': hour, running: hour });
  await settleJobTimes(database.db, 60_000);
  expect(await seconds()).toEqual({
    new: about(0),
    'tried-thrice': about(8),
    'tried-often': about(60),
    running: about(0),
  });
  expect(await dueNames(database.db)).toEqual(['snapshot.pull']);
});
