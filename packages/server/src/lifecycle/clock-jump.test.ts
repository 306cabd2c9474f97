import { sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { createClockWatch } from '../platform/clock-watch.ts';
import { openInstance } from '../platform/instance.ts';
import { addOrganization, newSandbox, newSnapshot } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { insertSandbox, insertSnapshot } from './move.ts';
import { renewDeadlines } from './renew-deadlines.ts';
import { listOrphans } from './watch.ts';

const log = pino({ level: 'silent' });
const HOUR_MS = 3_600_000;
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

/** The steady time of a process, against which the database's clock seems to jump: by as much the other way. */
function steadyTime() {
  let skippedMs = 0;
  return {
    now: () => performance.now() + skippedMs,
    clockJumps: (ms: number) => {
      skippedMs -= ms;
    },
  };
}

test.each([HOUR_MS, -HOUR_MS])('a clock that jumps by %i ms is noticed once', async (ms) => {
  const time = steadyTime();
  const clock = createClockWatch(database.db, log, time.now);
  const jumps: number[] = [];
  clock.onJump(async (jump) => void jumps.push(jump));
  await clock.settle();
  await clock.settle();
  expect(jumps).toEqual([]);
  time.clockJumps(ms);
  await Promise.all([clock.settle(), clock.settle(), clock.settle()]);
  expect(jumps).toEqual([expect.closeTo(ms, -4)]);
});

test('what could not be put right is tried again', async () => {
  const time = steadyTime();
  const clock = createClockWatch(database.db, log, time.now);
  let calls = 0;
  clock.onJump(async () => {
    if (++calls === 1) throw new Error('not now');
  });
  await clock.settle();
  time.clockJumps(HOUR_MS);
  await expect(clock.settle()).rejects.toThrow('not now');
  await clock.settle();
  await clock.settle();
  expect(calls).toBe(2);
});

test('what is on its way gets the time of its state again, neither less nor more', async () => {
  const { db } = database;
  const late = await insertSnapshot(db, newSnapshot(organizationId), { actor: 'user:1' });
  const sandbox = await insertSandbox(db, newSandbox(organizationId), { actor: 'user:1' });
  await sql`update snapshots set deadline_at = now() - interval '10 min' where id = ${late.id}`.execute(db);
  await sql`update sandboxes set deadline_at = now() + interval '1 hour' where id = ${sandbox.id}`.execute(db);
  await renewDeadlines(db);
  const { rows } = await sql<{ seconds: number }>`
    select round(extract(epoch from deadline_at - now()))::int as seconds from snapshots
    union all select round(extract(epoch from deadline_at - now()))::int from sandboxes`.execute(db);
  expect(rows.map(({ seconds }) => seconds)).toEqual([3600, 60]);
});

test('nobody is taken for dead by who could not renew its own lease, and nobody takes itself for dead', async () => {
  const { db } = database;
  const time = steadyTime();
  const clock = createClockWatch(db, log, time.now);
  const mine = await openInstance({ db, runnerId: 'here', clock, log, now: time.now });
  const other = await openInstance({ db, runnerId: 'elsewhere', clock: createClockWatch(db, log), log });
  try {
    await clock.settle();
    for (const { id: ownerId } of [mine, other])
      await insertSandbox(db, newSandbox(organizationId), { actor: 'user:1', ownerId });
    await sql`update instances set lease_expires_at = now() - interval '1 hour'`.execute(db);
    expect(await listOrphans({ db, instance: mine })).toMatchObject([{ ownerId: other.id }]);
    time.clockJumps(HOUR_MS);
    await clock.settle();
    expect(mine.isSteady()).toBe(false);
    expect(await listOrphans({ db, instance: mine })).toEqual([]);
  } finally {
    await mine.close();
    await other.close();
  }
});
