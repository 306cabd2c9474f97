import type { SnapshotState } from '@darkroom/contract';
import { sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createClockWatch } from '../platform/clock-watch.ts';
import { type Listener, openListener } from '../platform/db/listener.ts';
import { createEventBus, type EventBus } from '../platform/events.ts';
import { openInstance } from '../platform/instance.ts';
import { addOrganization, newSandbox, newSnapshot } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { insertSandbox, insertSnapshot, moveSnapshot } from './move.ts';
import { listOrphans, startWatch } from './watch.ts';

const log = pino({ level: 'silent' });
let database: TestDatabase;
let listener: Listener;
let bus: EventBus;
let organizationId: string;

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
beforeEach(async () => {
  await database.reset();
  organizationId = await addOrganization(database.db);
});

async function snapshotIn(state: SnapshotState, id: string) {
  return bus.waitFor(
    id,
    () =>
      database.db
        .selectFrom('snapshots')
        .selectAll()
        .where('id', '=', id)
        .where('state', '=', state)
        .executeTakeFirst(),
    { timeoutMs: 10_000 },
  );
}

const nobodyTakesUp = async () => false;

test('a row whose deadline passes ends where its table says, with the reason', async () => {
  const { db } = database;
  const instance = await openInstance({ clock: createClockWatch(db, log), db, runnerId: 'here', log });
  const { id } = await insertSnapshot(db, newSnapshot(organizationId), { actor: 'user:1' });
  const later = await insertSnapshot(db, newSnapshot(organizationId), { actor: 'user:1' });
  await sql`update snapshots set deadline_at = now() + interval '150 ms' where id = ${id}`.execute(db);
  const watch = startWatch({ db, instance, clock: createClockWatch(db, log), log, takeUp: nobodyTakesUp });
  try {
    const row = await snapshotIn('error', id);
    expect(row.error_reason).toContain('Its turn did not come');
    expect(row).toMatchObject({ error_code: 'timeout', deadline_at: null, owner_id: null });
    const untouched = await db
      .selectFrom('snapshots')
      .select('state')
      .where('id', '=', later.id)
      .executeTakeFirstOrThrow();
    expect(untouched.state).toBe('pending');
  } finally {
    await watch.close();
    await instance.close();
  }
});

test('what a dead process worked on is offered to be taken up, and else ends with a reason', async () => {
  const { db } = database;
  const dead = await openInstance({ clock: createClockWatch(db, log), db, runnerId: 'here', log });
  const other = await openInstance({ clock: createClockWatch(db, log), db, runnerId: 'elsewhere', log });
  const change = { actor: 'job', ownerId: dead.id };
  const pull = await insertSnapshot(db, newSnapshot(organizationId), { actor: 'user:1' });
  await moveSnapshot(db, pull.id, { from: ['pending'], to: 'pulling', ...change });
  const alive = await insertSnapshot(db, newSnapshot(organizationId), { actor: 'user:1' });
  await moveSnapshot(db, alive.id, { from: ['pending'], to: 'pulling', actor: 'job', ownerId: other.id });
  const sandbox = await insertSandbox(db, newSandbox(organizationId), change);
  // The next process of the same runner: the earlier one is dead, whatever its lease says.
  const next = await openInstance({ clock: createClockWatch(db, log), db, runnerId: 'here', log });
  expect((await listOrphans({ db, instance: next })).map((orphan) => orphan.id).sort()).toEqual(
    [pull.id, sandbox.id].sort(),
  );
  const watch = startWatch({
    db,
    instance: next,
    clock: createClockWatch(db, log),
    log,
    takeUp: async (orphan) => {
      if (orphan.subjectType !== 'snapshot') return false;
      await moveSnapshot(db, orphan.id, { from: ['pulling'], to: 'pending', actor: 'system', heldBy: orphan.ownerId });
      return true;
    },
  });
  try {
    await snapshotIn('pending', pull.id);
    const ended = await bus.waitFor(
      sandbox.id,
      () =>
        db
          .selectFrom('sandboxes')
          .selectAll()
          .where('id', '=', sandbox.id)
          .where('state', '=', 'error')
          .executeTakeFirst(),
      { timeoutMs: 10_000 },
    );
    expect(ended.error_reason).toContain('The server that worked on it ended while it was creating');
    expect(await snapshotIn('pulling', alive.id)).toMatchObject({ owner_id: other.id });
  } finally {
    await watch.close();
    for (const instance of [dead, other, next]) await instance.close();
  }
});

test('a lease that is not renewed ends', async () => {
  const { db } = database;
  const mine = await openInstance({ clock: createClockWatch(db, log), db, runnerId: 'here', log });
  const other = await openInstance({ clock: createClockWatch(db, log), db, runnerId: 'elsewhere', log });
  expect(await mine.msToNextLeaseEnd()).toBeGreaterThan(0);
  await insertSandbox(db, newSandbox(organizationId), { actor: 'user:1', ownerId: other.id });
  expect(await listOrphans({ db, instance: mine })).toEqual([]);
  await sql`update instances set lease_expires_at = now() where id = ${other.id}`.execute(db);
  expect(await listOrphans({ db, instance: mine })).toMatchObject([{ ownerId: other.id }]);
  expect(await mine.msToNextLeaseEnd()).toBeUndefined();
  await mine.close();
  await other.close();
});
