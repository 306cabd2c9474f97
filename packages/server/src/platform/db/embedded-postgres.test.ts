import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDatabase } from './database.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './embedded-postgres.ts';
import { waitForPredecessor } from './postgres-predecessor.ts';

const log = pino({ level: 'silent' });
let stateDir: string;
const servers: EmbeddedPostgres[] = [];
const processes: ChildProcess[] = [];

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'darkroom-pg-'));
});
afterEach(async () => {
  for (const child of processes.splice(0)) child.kill('SIGKILL');
  for (const server of servers.splice(0)) await server.stop();
  await rm(stateDir, { recursive: true, force: true });
});

async function start(directory = stateDir): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ stateDir: directory, log });
  servers.push(server);
  return server;
}

async function query<T>(server: EmbeddedPostgres, text: string): Promise<T[]> {
  const db = openDatabase(server.connection, { maxConnections: 1 });
  try {
    return (await sql<T>`${sql.raw(text)}`.execute(db)).rows;
  } finally {
    await db.destroy();
  }
}

/** The condition is made true by another process; there is nothing to wait on but to look. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if (await condition()) return;
    await delay(50);
  }
  throw new Error('it did not become true within 30 s');
}

test('it is on a unix socket only, writes through to the disk, and keeps its data over a stop', async () => {
  const server = await start();
  const [settings] = await query(
    server,
    `select current_setting('listen_addresses') as tcp, current_setting('fsync') as fsync,
       current_setting('synchronous_commit') as commit, current_setting('data_checksums') as checksums`,
  );
  expect(settings).toEqual({ tcp: '', fsync: 'on', commit: 'on', checksums: 'on' });
  await query(server, 'create table kept as select 42 as answer');
  await server.stop();
  expect(await query(await start(), 'select answer from kept')).toEqual([{ answer: 42 }]);
}, 60_000);

test.runIf(process.geteuid?.() === 0)(
  'it runs as an unprivileged user, whatever the state directory lets others do',
  async () => {
    const open = await mkdtemp(join(tmpdir(), 'dr-'));
    try {
      await chmod(open, 0o755);
      for (const directory of [stateDir, open]) {
        const server = await start(directory);
        const { uid } = await stat(`/proc/${server.pid()}`);
        expect(uid).toBeGreaterThan(0);
        expect((await stat(join(directory, 'postgres'))).mode & 0o077).toBe(0);
        const socket = server.connection.host ?? '';
        expect(Buffer.byteLength(join(socket, '.s.PGSQL.5432'))).toBeLessThan(108);
        await server.stop();
        expect(existsSync(socket)).toBe(false);
      }
    } finally {
      await rm(open, { recursive: true, force: true });
    }
  },
  60_000,
);

test('a very long state directory gets a short socket', async () => {
  const long = join(stateDir, 'x'.repeat(100), 'y'.repeat(100));
  await mkdir(long, { recursive: true });
  await chmod(stateDir, 0o755);
  const server = await start(long);
  expect(await query(server, 'select 1 as one')).toEqual([{ one: 1 }]);
}, 60_000);

test('when it dies it is started again, and the connections of the server recover', async () => {
  const server = await start();
  const db = openDatabase(server.connection, { maxConnections: 3 });
  try {
    await sql`create table kept (id int)`.execute(db);
    await sql`insert into kept values (1)`.execute(db);
    const first = server.pid();
    const underWay = expect(sql`select pg_sleep(20)`.execute(db)).rejects.toThrow();
    await until(async () => {
      const active = sql`select from pg_stat_activity where query like 'select pg_sleep%' and state = 'active'`;
      return (await active.execute(db)).rows.length > 0;
    });
    process.kill(first ?? Number.NaN, 'SIGKILL');
    await underWay;
    await until(() => server.pid() !== undefined && server.pid() !== first);
    // Idle connections of before are dropped as their end is noticed; a query may still be the one to notice.
    await until(() =>
      sql`insert into kept values (2)`.execute(db).then(
        () => true,
        () => false,
      ),
    );
    expect((await sql`select id from kept order by id`.execute(db)).rows).toEqual([{ id: 1 }, { id: 2 }]);
  } finally {
    await db.destroy();
  }
}, 60_000);

test('it ends when its server is killed, and the next server takes the data over at once', async () => {
  const script = `
    import { pino } from 'pino';
    import { startEmbeddedPostgres } from ${JSON.stringify(new URL('./embedded-postgres.ts', import.meta.url).href)};
    const server = await startEmbeddedPostgres({ stateDir: process.argv[2], log: pino({ level: 'silent' }) });
    console.log(server.pid());
    setInterval(() => {}, 1000);`;
  const path = join(stateDir, 'server.mts');
  await writeFile(path, script.replace("'pino'", JSON.stringify(import.meta.resolve('pino'))));
  const other = spawn(process.execPath, [path, stateDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  processes.push(other);
  const [line] = await once(other.stdout.setEncoding('utf8'), 'data');
  const pid = Number(line);
  expect(existsSync(`/proc/${pid}`)).toBe(true);
  other.kill('SIGKILL');
  const server = await start();
  expect(server.pid()).not.toBe(pid);
  expect(await query(server, 'select 1 as one')).toEqual([{ one: 1 }]);
  await until(() => !existsSync(`/proc/${pid}/cwd`));
}, 60_000);

test('a lock file that a crash left is taken for what it is; one of a living database is not', async () => {
  const server = await start();
  const dataDir = join(stateDir, 'postgres');
  await expect(waitForPredecessor(dataDir, server.connection.host ?? '', 100)).rejects.toMatchObject({
    code: 'conflict',
  });
  await server.stop();
  // The number is that of a living process, but of another program.
  await writeFile(join(dataDir, 'postmaster.pid'), `${process.pid}\n`);
  expect(await query(await start(), 'select 1 as one')).toEqual([{ one: 1 }]);
}, 60_000);

test('what a crash in the middle of the first start left is cleared away', async () => {
  await mkdir(join(stateDir, 'postgres.new-123', 'base'), { recursive: true });
  const server = await start();
  expect(await query(server, 'select 1 as one')).toEqual([{ one: 1 }]);
  expect(await readdir(stateDir)).not.toContain('postgres.new-123');
}, 60_000);

test('data of another version is refused with both versions, and not touched', async () => {
  await mkdir(join(stateDir, 'postgres'), { mode: 0o700 });
  await writeFile(join(stateDir, 'postgres', 'PG_VERSION'), '17\n');
  await expect(start()).rejects.toThrow(/was made by PostgreSQL 17, this Darkroom runs 18/);
  expect(await readdir(join(stateDir, 'postgres'))).toEqual(['PG_VERSION']);
}, 60_000);
