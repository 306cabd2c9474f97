import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestDatabase, type TestDatabase } from '../../test-support/test-database.ts';
import { createStatementNames } from './prepared-statements.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await startTestDatabase();
}, 60_000);
afterAll(() => database?.stop());

test('a statement that comes again gets a name, one that does not gets none', () => {
  const names = createStatementNames();
  expect([names.nameOf('a'), names.nameOf('a'), names.nameOf('b')]).toEqual([undefined, undefined, undefined]);
  const name = names.nameOf('a');
  expect(name).toBeTypeOf('string');
  expect(names.nameOf('a')).toBe(name);
  names.forgetAll();
  for (let again = 0; again < 3; again++) names.nameOf('a');
  expect(names.nameOf('a')).not.toBe(name);
});

test('statements that come again are prepared on their connection and answer as before', async () => {
  await database.db.connection().execute(async (db) => {
    const ask = async (n: number) => (await sql<{ n: number }>`select ${n}::int + 1 as n`.execute(db)).rows[0]?.n;
    for (let n = 0; n < 5; n++) expect(await ask(n)).toBe(n + 1);
    const { rows } = await sql<{ count: number }>`
      select count(*) as count from pg_prepared_statements where statement like '%::int + 1 as n'`.execute(db);
    expect(rows[0]?.count).toBe(1);
  });
});

test('a change of the table under a prepared statement fails it at most once', async () => {
  await database.db.connection().execute(async (db) => {
    await sql`create temporary table changing (a int)`.execute(db);
    const ask = () => sql`select * from changing where ${1}::int = 1`.execute(db);
    for (let n = 0; n < 5; n++) await ask();
    await sql`alter table changing add column b int`.execute(db);
    await ask().catch(() => {});
    await ask();
  });
});
