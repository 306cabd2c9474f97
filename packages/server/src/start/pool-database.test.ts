import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Kysely, sql } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { insertSnapshot } from '../lifecycle/move.ts';
import type { DatabaseConnection } from '../platform/db/connection.ts';
import { openDatabase } from '../platform/db/database.ts';
import * as belonging from '../platform/db/migrations/0014-belonging.ts';
import type { Database } from '../platform/db/schema.ts';
import { addOrganization, newSandbox, newSnapshot } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { migrateDatabaseOfPool } from './pool-database.ts';

let database: TestDatabase;
let poolRoot: string;
let idFile: string;
const others: { db: Kysely<Database>; name: string }[] = [];
beforeAll(async () => {
  database = await startTestDatabase();
}, 60_000);
afterAll(() => database?.stop());
beforeEach(async () => {
  poolRoot = await mkdtemp(join(tmpdir(), 'darkroom-pool-database-'));
  idFile = join(poolRoot, 'database-id');
});
afterEach(async () => {
  for (const { db, name } of others.splice(0)) {
    await db.destroy();
    await sql`drop database ${sql.id(name)} with (force)`.execute(database.db);
  }
  await database.reset();
  await rm(poolRoot, { recursive: true, force: true });
});

/** Another one, without any tables, as a mistyped URL finds it. */
async function emptyDatabase(): Promise<Kysely<Database>> {
  const name = `other_${randomBytes(6).toString('hex')}`;
  await sql`create database ${sql.id(name)}`.execute(database.db);
  const db = openDatabase(connectionTo(name), { maxConnections: 2 });
  others.push({ db, name });
  return db;
}

function connectionTo(name: string): DatabaseConnection {
  const { connectionString } = database.connection;
  if (connectionString === undefined) return { ...database.connection, database: name };
  const url = new URL(connectionString);
  url.pathname = `/${name}`;
  return { connectionString: url.href };
}

const tablesOf = async (db: Kysely<Database>) =>
  (await sql`select from pg_tables where schemaname = 'public'`.execute(db)).rows.length;
const refused = (why: string) => ({
  code: 'conflict',
  message: expect.stringContaining(why),
  hint: expect.stringContaining(`remove ${idFile}`),
});

test('a pool belongs to the database that it was first used with', async () => {
  await migrateDatabaseOfPool(database.db, poolRoot);
  const id = await readFile(idFile, 'utf8');
  await migrateDatabaseOfPool(database.db, poolRoot);
  expect(await readFile(idFile, 'utf8')).toBe(id);
  expect(await readdir(poolRoot)).toEqual(['database-id']);
});

test('an empty database is refused before anything is made in it, until the pool is told to forget its own', async () => {
  await migrateDatabaseOfPool(database.db, poolRoot);
  const empty = await emptyDatabase();
  await expect(migrateDatabaseOfPool(empty, poolRoot)).rejects.toMatchObject(refused('it is empty'));
  expect(await tablesOf(empty)).toBe(0);
  await rm(idFile);
  await migrateDatabaseOfPool(empty, poolRoot);
  await expect(migrateDatabaseOfPool(database.db, poolRoot)).rejects.toMatchObject(refused('the pool belongs to'));
});

test('a backup of the same database is accepted, and so is an older one that is migrated again', async () => {
  await addOrganization(database.db);
  await sql`drop table database_identity`.execute(database.db);
  await belonging.up(database.db);
  await migrateDatabaseOfPool(database.db, poolRoot);
  await sql`drop table database_identity`.execute(database.db);
  await addOrganization(database.db, 'later');
  await belonging.up(database.db);
  await migrateDatabaseOfPool(database.db, poolRoot);

  const { rows } = await sql<{ id: string }>`select id from database_identity`.execute(database.db);
  const restored = await emptyDatabase();
  await rm(idFile);
  await migrateDatabaseOfPool(restored, poolRoot);
  await sql`update database_identity set id = ${rows[0]?.id}`.execute(restored);
  await writeFile(idFile, `${rows[0]?.id}\n`);
  await migrateDatabaseOfPool(restored, poolRoot);
});

test('a file that holds no id is refused', async () => {
  await writeFile(idFile, '\0\0');
  await expect(migrateDatabaseOfPool(database.db, poolRoot)).rejects.toThrow('does not hold the id of a database');
});

test('snapshots from before get their machine where there has only been one', async () => {
  const { db } = database;
  const organizationId = await addOrganization(db);
  const again = async () => {
    await sql`drop table database_identity`.execute(db);
    await belonging.up(db);
    const rows = await db.selectFrom('snapshots').select(['name', 'runner_id']).orderBy('name').execute();
    return rows.map((row) => `${row.name} ${row.runner_id}`);
  };
  const add = (name: string, layers: string[] | null) => {
    const files = layers === null ? {} : { layers, image: '{}', size_bytes: 1, state: 'active' as const };
    return insertSnapshot(db, newSnapshot(organizationId, { name, ...files }), { actor: 'test' });
  };
  const addSandbox = (runner: string) =>
    db
      .insertInto('sandboxes')
      .values({ ...newSandbox(organizationId, { runner_id: runner }), state: 'stopped' })
      .execute();
  await add('a', ['sha256:a']);
  await add('b', null);
  expect(await again()).toEqual(['a null', 'b null']);
  await addSandbox('here');
  expect(await again()).toEqual(['a here', 'b null']);
  await add('c', ['sha256:c']);
  await addSandbox('there');
  expect(await again()).toEqual(['a here', 'b null', 'c null']);
});
