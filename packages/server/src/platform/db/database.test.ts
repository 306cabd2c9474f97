import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestDatabase, type TestDatabase } from '../../test-support/test-database.ts';
import { openDatabase } from './database.ts';
import { migrate } from './migrate.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await startTestDatabase();
}, 60_000);
afterAll(() => database?.stop());

test('counts, sizes and numeric values are numbers', async () => {
  const { rows } =
    await sql`select count(*), 5000000000::int8 as big, 1.5::numeric as part, null::int8 as none`.execute(database.db);
  expect(rows).toEqual([{ count: 1, big: 5_000_000_000, part: 1.5, none: null }]);
});

test('no statement can wait for ever', async () => {
  const { rows } = await sql`select current_setting('statement_timeout') as statement,
    current_setting('idle_in_transaction_session_timeout') as idle`.execute(database.db);
  expect(rows).toEqual([{ statement: '30s', idle: '1min' }]);
});

test('a connection that the database closes is replaced', async () => {
  const db = openDatabase(database.connection, { maxConnections: 1 });
  try {
    const { rows } = await sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db);
    await sql`select pg_terminate_backend(${rows[0]?.pid}, 5000)`.execute(database.db);
    const again = sql`select 1 as one`;
    // Whether the pool or the query notices first is the kernel's choice; the one after it works.
    await again.execute(db).catch(() => {});
    expect((await again.execute(db)).rows).toEqual([{ one: 1 }]);
  } finally {
    await db.destroy();
  }
});

test('a database that cannot be reached is an error, in bounded time', async () => {
  const db = openDatabase({ host: '/nowhere', user: 'x', database: 'x' }, { maxConnections: 1 });
  await expect(sql`select 1`.execute(db)).rejects.toThrow(/ENOENT/);
  await db.destroy();
});

test('when it is closed, the database has no connection of it any more', async () => {
  const db = openDatabase(database.connection, { maxConnections: 10 });
  const busy = Array.from({ length: 10 }, () => sql<{ pid: number }>`select pg_backend_pid() as pid`.execute(db));
  const pids = (await Promise.all(busy)).flatMap(({ rows }) => rows.map(({ pid }) => pid));
  await db.destroy();
  const left = sql`select pid from pg_stat_activity where pid = any(${pids}::int[])`;
  expect((await left.execute(database.db)).rows).toEqual([]);
});

test('servers that start at the same time migrate once', async () => {
  const others = [1, 2, 3].map(() => openDatabase(database.connection, { maxConnections: 2 }));
  try {
    await sql`drop schema public cascade`.execute(database.db);
    await sql`create schema public`.execute(database.db);
    await Promise.all(others.map(migrate));
    const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(database.db);
    expect(rows).toContainEqual({ name: '0001-init' });
    expect(new Set(rows.map((row) => row.name)).size).toBe(rows.length);
  } finally {
    await Promise.all(others.map((db) => db.destroy()));
  }
});

test('a database that a newer version has changed is refused by name', async () => {
  await sql`insert into kysely_migration (name, timestamp) values ('9999-future', 'now')`.execute(database.db);
  await expect(migrate(database.db)).rejects.toThrow(/newer than this Darkroom: it has 9999-future/);
  await sql`delete from kysely_migration where name = '9999-future'`.execute(database.db);
  await migrate(database.db);
});
