import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../process.ts';
import { openDatabase } from './database.ts';
import { startEmbeddedPostgres } from './embedded-postgres.ts';
import { databaseProblem } from './problems.ts';

let stateDir: string;
beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'darkroom-full-'));
  await run('mount', ['-t', 'tmpfs', '-o', 'size=160m', 'darkroom-full', stateDir], { timeoutMs: 10_000 });
});
afterEach(async () => {
  await run('umount', ['--lazy', stateDir], { timeoutMs: 10_000 });
  await rm(stateDir, { recursive: true, force: true });
});

test('a full disk fails what is asked, loses nothing that was acknowledged, and is over when there is room again', async () => {
  const log = pino({ level: 'silent' });
  const server = await startEmbeddedPostgres({ stateDir, log });
  const db = openDatabase(server.connection, { maxConnections: 2 });
  try {
    await sql`create table kept (id int primary key, filling text)`.execute(db);
    const filler = join(stateDir, 'filler');
    await run('dd', ['if=/dev/zero', `of=${filler}`, 'bs=1M'], { timeoutMs: 30_000, okCodes: [0, 1] });
    let acknowledged = 0;
    let failure: unknown;
    // Within what the log's own files still have room for.
    for (let id = 1; id <= 2_000 && failure === undefined; id++) {
      // Text that does not compress, so that it takes the room it seems to.
      const insert = sql`insert into kept select ${id}, string_agg(gen_random_uuid()::text, '') from generate_series(1, 2000)`;
      await insert.execute(db).then(
        () => {
          acknowledged = id;
        },
        (error: unknown) => {
          failure = error;
        },
      );
    }
    expect(['insufficient_storage', 'unavailable']).toContain(databaseProblem(failure)?.code);
    await writeFile(filler, '');
    const insert = sql`insert into kept values (0, '')`;
    let works = false;
    for (let tries = 0; tries < 300 && !works; tries++) {
      works = await insert.execute(db).then(
        () => true,
        () => false,
      );
      if (!works) await delay(100);
    }
    expect(works).toBe(true);
    const { rows } = await sql<{
      n: number;
    }>`select count(*) as n from kept where id between 1 and ${acknowledged}`.execute(db);
    expect(rows).toEqual([{ n: acknowledged }]);
  } finally {
    await db.destroy();
    await server.stop();
  }
}, 120_000);
