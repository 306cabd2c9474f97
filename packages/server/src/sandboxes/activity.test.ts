import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDatabase } from '../platform/db/database.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { createActivity } from './activity.ts';

const ID = '0195c0de-0000-7000-8000-000000000001';
const quiet = { info: () => {}, warn: () => {}, error: () => {} };

let database: TestDatabase;
beforeAll(async () => {
  database = await startTestDatabase();
}, 60_000);
afterAll(() => database?.stop());

test('a sandbox is busy while it is used, and until that is written down', async () => {
  const activity = createActivity(database.db, quiet);
  const endUse = activity.begin(ID);
  await activity.flush();
  expect(activity.isBusy(ID)).toBe(true);
  endUse();
  expect(activity.isBusy(ID)).toBe(true);
  await activity.flush();
  expect(activity.isBusy(ID)).toBe(false);
});

test('what could not be written down is not forgotten', async () => {
  const away = openDatabase({ host: '/nowhere', user: 'x', database: 'x' }, { maxConnections: 1 });
  const activity = createActivity(away, quiet);
  activity.touch(ID);
  await expect(activity.flush()).rejects.toThrow(/ENOENT/);
  expect(activity.isBusy(ID)).toBe(true);
  await expect(activity.close()).rejects.toThrow(/ENOENT/);
  await away.destroy();
});
