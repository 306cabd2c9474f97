import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { createClockWatch } from './clock-watch.ts';
import { openInstance, readRunnerId } from './instance.ts';

const log = pino({ level: 'silent' });
let database: TestDatabase;
let stateDir: string;
beforeAll(async () => {
  database = await startTestDatabase();
}, 60_000);
afterAll(() => database?.stop());
beforeEach(async () => {
  await database.reset();
  stateDir = await mkdtemp(join(tmpdir(), 'darkroom-instance-'));
});
afterEach(async () => {
  vi.useRealTimers();
  await rm(stateDir, { recursive: true, force: true });
});

const leases = () => database.db.selectFrom('instances').select(['id', 'lease_expires_at']).execute();

test('the lease is renewed while the process lives, also when its row was lost, and given back at the end', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const instance = await openInstance({
    clock: createClockWatch(database.db, log),
    db: database.db,
    runnerId: 'here',
    log,
  });
  expect((await leases()).map((row) => row.id)).toEqual([instance.id]);
  await sql`delete from instances`.execute(database.db);
  vi.advanceTimersByTime(5_000);
  await vi.waitFor(async () => expect(await leases()).toHaveLength(1), { timeout: 5_000 });
  await instance.close();
  expect(await leases()).toEqual([]);
});

test('the next process of a runner takes the place of the earlier ones', async () => {
  const first = await openInstance({
    clock: createClockWatch(database.db, log),
    db: database.db,
    runnerId: 'here',
    log,
  });
  const other = await openInstance({
    clock: createClockWatch(database.db, log),
    db: database.db,
    runnerId: 'elsewhere',
    log,
  });
  const next = await openInstance({
    clock: createClockWatch(database.db, log),
    db: database.db,
    runnerId: 'here',
    log,
  });
  expect((await leases()).map((row) => row.id).sort()).toEqual([other.id, next.id].sort());
  for (const instance of [first, other, next]) await instance.close();
});

test('the runner keeps its id, and a file that is not one is refused', async () => {
  const id = await readRunnerId(stateDir);
  expect(id).toMatch(/^[\w-]{36}$/);
  expect(await readRunnerId(stateDir)).toBe(id);
  await writeFile(join(stateDir, 'runner-id'), '\0\0\0');
  await expect(readRunnerId(stateDir)).rejects.toThrow('does not hold a runner id');
});
