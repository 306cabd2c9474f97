import { readFile } from 'node:fs/promises';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestDatabase, type TestDatabase } from '../../test-support/test-database.ts';
import { DarkroomError } from '../errors.ts';
import { openDatabase } from './database.ts';
import { databaseProblem, isOfDatabase } from './problems.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await startTestDatabase();
}, 60_000);
afterAll(() => database?.stop());

const failureOf = async (work: Promise<unknown>) =>
  databaseProblem(
    await work.then(
      () => undefined,
      (error) => error,
    ),
  );

test('a database that is not there is unavailable, and it may help to try again', async () => {
  for (const connection of [{ host: '/nowhere' }, { host: '127.0.0.1', port: 1 }]) {
    const db = openDatabase(connection, { maxConnections: 1 });
    expect(await failureOf(sql`select 1`.execute(db))).toMatchObject({ code: 'unavailable', retryable: true });
    await db.destroy();
  }
});

test('a connection that ends under a query, and a statement that takes too long, are too', async () => {
  const { db } = database;
  const killed = sql`select pg_terminate_backend(pg_backend_pid())`.execute(db);
  expect(await failureOf(killed)).toMatchObject({ code: 'unavailable', retryable: true });
  const slow = db.transaction().execute(async (trx) => {
    await sql`set local statement_timeout = 20`.execute(trx);
    await sql`select pg_sleep(20)`.execute(trx);
  });
  expect(await failureOf(slow)).toMatchObject({ code: 'unavailable', retryable: true });
});

test('a mistake of ours is not passed off as one of the database', async () => {
  expect(await failureOf(sql`select nonsense`.execute(database.db))).toBeUndefined();
  expect(databaseProblem(new Error('any'))).toBeUndefined();
  expect(databaseProblem('text')).toBeUndefined();
  expect(await failureOf(readFile('/nowhere/at/all'))).toBeUndefined();
});

test('what was said of the database is known for that when it was wrapped, and a registry that is down is not taken for it', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED', syscall: 'connect' });
  const said = databaseProblem(refused);
  expect([refused, said].map(isOfDatabase)).toEqual([true, true]);
  expect(isOfDatabase(new DarkroomError('unavailable', 'later', { cause: said }))).toBe(true);
  expect(isOfDatabase(new DarkroomError('image_unavailable', 'the registry is down', { cause: refused }))).toBe(false);
  for (const other of [new Error('any'), undefined, 'text']) expect(isOfDatabase(other)).toBe(false);
});
