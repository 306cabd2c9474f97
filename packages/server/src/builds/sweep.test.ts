import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertSnapshot } from '../lifecycle/move.ts';
import { addOrganization, newSnapshot } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { boundLogs } from './bound-logs.ts';
import { createBuildLogs } from './logs/build-logs.ts';
import { insertBuild } from './records.ts';
import { createStepTracker } from './step-tracker.ts';
import { readSteps, settledStep } from './steps.ts';
import { createLogCollector } from './sweep.ts';

const log = pino({ level: 'silent' });
let database: TestDatabase;
let directory: string;
beforeAll(async () => {
  database = await startTestDatabase();
  directory = await mkdtemp(join(tmpdir(), 'darkroom-build-logs-'));
}, 60_000);
afterAll(async () => {
  await database?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function addBuild(): Promise<string> {
  const { db } = database;
  const id = randomUUID();
  const organizationId = await addOrganization(db);
  await db.transaction().execute(async (trx) => {
    const values = newSnapshot(organizationId, { state: 'building', build_id: id });
    const { id: snapshotId } = await insertSnapshot(trx, values, { actor: 'test' });
    const request = {
      dockerfile: 'FROM a:1\n',
      contextHashes: [],
      target: undefined,
      buildArgs: {},
      secrets: {},
      noCache: false,
      cacheMaxAgeSeconds: undefined,
    };
    const seal = (plain: string) => Buffer.from(plain);
    await insertBuild(trx, { seal }, { id, organizationId, subject: { snapshotId }, request });
  });
  return id;
}

test('logs whose builds are gone are removed, and no others', async () => {
  const logs = await createBuildLogs({ directory, log });
  const [kept, gone, running] = [await addBuild(), randomUUID(), randomUUID()];
  for (const id of [kept, gone, running]) {
    const writer = await logs.open(id, { maxBytes: 1000 });
    writer.write({ step: undefined, stream: 'note', text: 'x' });
    await writer.close();
  }
  const { db } = database;
  const isRunning = (id: string) => id === running;
  const collector = createLogCollector({ db, logs, isRunning, runnerId: 'here', graceSeconds: 60 });
  expect(await collector.collect({ withoutGrace: false })).toEqual([]);
  expect(await collector.plan()).toMatchObject([{ kind: 'build-log', id: gone, goes: 'grace' }]);
  await db
    .updateTable('garbage_marks')
    .set({ marked_at: new Date(Date.now() - 61_000) })
    .execute();
  expect(await collector.plan()).toMatchObject([{ id: gone, goes: 'sweep', sizeBytes: expect.any(Number) }]);
  expect(await collector.collect({ withoutGrace: false })).toMatchObject([{ id: gone }]);
  expect((await logs.list()).sort()).toEqual([kept, running].sort());
  await logs.close();
});

test('of an organization that has too many logs the oldest go, and none of a build that runs', async () => {
  const own = await mkdtemp(join(directory, 'bound-'));
  const logs = await createBuildLogs({ directory: own, log });
  const [old, recent, running, other] = [await addBuild(), await addBuild(), await addBuild(), await addBuild()];
  const { db } = database;
  const mine = await db.selectFrom('builds').select('organization_id').where('id', '=', old).executeTakeFirstOrThrow();
  await db.updateTable('builds').set(mine).where('id', 'in', [recent, running]).execute();
  const ended = (id: string, finishedAt: Date) =>
    db.updateTable('builds').set({ outcome: 'failed', finished_at: finishedAt }).where('id', '=', id).execute();
  await ended(old, new Date(1_000));
  await ended(recent, new Date(2_000));
  await ended(other, new Date(0));
  for (const id of [old, recent, running, other]) {
    const writer = await logs.open(id, { maxBytes: 10_000 });
    writer.write({ step: undefined, stream: 'note', text: 'x'.repeat(1000) });
    await writer.close();
  }
  expect(await boundLogs({ db, logs }, 10_000)).toBe(0);
  expect(await boundLogs({ db, logs }, 2_500)).toBe(1);
  expect((await logs.list()).sort()).toEqual([recent, running, other].sort());
  await logs.close();
});

test('steps are seen as they change, and their last state is in the database', async () => {
  const buildId = await addBuild();
  const tracker = createStepTracker({ db: database.db, buildId, log });
  const seen: string[] = [];
  tracker.subscribe(({ number, state, cache }) => seen.push(`${number} ${state} ${cache}`));
  const step = (number: number) => ({ number, stage: '0', line: number, text: `RUN ${number}` });
  tracker.planned([step(1), step(2), step(3), step(4)]);
  tracker.started(1);
  tracker.cache(1, { kind: 'hit' });
  tracker.finished(1, { bytes: 10 });
  tracker.started(2);
  tracker.cache(2, { kind: 'miss', why: 'the files changed' });
  await tracker.flush();
  tracker.failed(2, 3);
  tracker.started(3);
  tracker.started(99);
  await tracker.flush();
  expect(seen.slice(4, 7)).toEqual(['1 running null', '1 running hit', '1 cached hit']);
  const rows = await readSteps(database.db, buildId);
  expect(rows.map(({ state, cache_why, bytes, exit_code }) => [state, cache_why, bytes, exit_code])).toEqual([
    ['cached', null, 10, null],
    ['failed', 'the files changed', null, 3],
    ['running', null, null, null],
    ['waiting', null, null, null],
  ]);
  expect(rows.map((row) => settledStep(row, 'cancelled').state)).toEqual(['cached', 'failed', 'failed', 'skipped']);
});

test('a build that is planned again, because its server ended, shows its new plan', async () => {
  const buildId = await addBuild();
  const tracker = createStepTracker({ db: database.db, buildId, log });
  tracker.planned([{ number: 1, stage: '0', line: 1, text: 'RUN a' }]);
  tracker.started(1);
  tracker.planned([{ number: 1, stage: '0', line: 1, text: 'RUN a' }]);
  await tracker.flush();
  expect(tracker.steps.map(({ state }) => state)).toEqual(['waiting']);
  expect((await readSteps(database.db, buildId)).map(({ state }) => state)).toEqual(['waiting']);
});
