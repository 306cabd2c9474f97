import { readFile } from 'node:fs/promises';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestDatabase, type TestDatabase } from '../../test-support/test-database.ts';
import { openDatabase } from './database.ts';
import { databaseProblem } from './problems.ts';

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
