import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertSandbox } from '../lifecycle/move.ts';
import { addOrganization, newSandbox } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { createSpoolCollector } from './collect-spool.ts';
import { createStoppedCollector } from './collect-stopped.ts';

let database: TestDatabase;
let spoolDirectory: string;
beforeAll(async () => {
  database = await startTestDatabase();
  spoolDirectory = await mkdtemp(join(tmpdir(), 'darkroom-spool-'));
}, 60_000);
afterAll(async () => {
  await database?.stop();
  await rm(spoolDirectory, { recursive: true, force: true });
});

test('output of sandboxes that are gone goes after its grace, and what a killed server was spooling at once', async () => {
  const { db } = database;
  const kept = await insertSandbox(db, newSandbox(await addOrganization(db)), { actor: 'test' });
  const gone = crypto.randomUUID();
  await mkdir(join(spoolDirectory, 'entrypoints'));
  const names = [`${kept.id}.log`, `${gone}.log`, `${gone}.log.1`, `${gone}.fifo`, 'of-somebody-else'];
  for (const name of names) await writeFile(join(spoolDirectory, 'entrypoints', name), 'x');
  for (const name of ['output-old', 'upload-old', 'output-new', 'else'])
    await writeFile(join(spoolDirectory, name), 'y');
  for (const name of ['output-old', 'upload-old', 'else']) await utimes(join(spoolDirectory, name), 1, 1);

  const collector = createSpoolCollector({ db, spoolDirectory, runnerId: 'here', graceSeconds: 60 });
  const said = (items: { id: string; goes: string }[]) => items.map(({ id, goes }) => `${goes} ${id}`).sort();
  const leftovers = ['sweep output-old', 'sweep upload-old'];
  expect(said(await collector.plan())).toEqual([`grace ${gone}`, ...leftovers]);
  expect(said(await collector.collect({ withoutGrace: false }))).toEqual(leftovers);
  expect((await readdir(join(spoolDirectory, 'entrypoints'))).length).toBe(names.length);
  expect(await collector.collect({ withoutGrace: true })).toMatchObject([
    { kind: 'entrypoint-log', id: gone, sizeBytes: 3 },
  ]);
  expect((await readdir(join(spoolDirectory, 'entrypoints'))).sort()).toEqual(
    [`${kept.id}.log`, 'of-somebody-else'].sort(),
  );
  expect((await readdir(spoolDirectory)).sort()).toEqual(['else', 'entrypoints', 'output-new']);
});

test('sandboxes that are stopped for long are deleted where the operator wants that, and no others', async () => {
  const { db } = database;
  const organizationId = await addOrganization(db);
  const stopped = async (days: number, values: { runner_id?: string; state?: 'started' } = {}) => {
    const row = await insertSandbox(db, newSandbox(organizationId), { actor: 'test' });
    const stoppedAt = new Date(Date.now() - days * 86_400_000);
    await db
      .updateTable('sandboxes')
      .set({ state: 'stopped', runner_id: 'here', stopped_at: stoppedAt, ...values })
      .where('id', '=', row.id)
      .execute();
    return row;
  };
  const old = await stopped(8);
  await stopped(6);
  await stopped(8, { runner_id: 'another' });
  await stopped(8, { state: 'started' });
  const enqueued: string[] = [];
  const jobs = { enqueue: async (_trx: unknown, _name: unknown, key: string) => void enqueued.push(key) };
  const collector = (deleteStoppedAfterDays: number | undefined) =>
    createStoppedCollector({
      db,
      jobs,
      settings: { instanceId: crypto.randomUUID(), runnerId: 'here', deleteStoppedAfterDays },
    });
  expect(await collector(undefined).plan()).toEqual([]);
  expect(await collector(undefined).collect({ withoutGrace: true })).toEqual([]);
  expect(await collector(7).plan()).toMatchObject([{ kind: 'sandbox', id: old.id, organizationId, goes: 'sweep' }]);
  expect(await collector(7).collect({ withoutGrace: false })).toMatchObject([{ id: old.id }]);
  expect(enqueued).toEqual([old.id]);
  const row = await db.selectFrom('sandboxes').select('state').where('id', '=', old.id).executeTakeFirst();
  expect(row?.state).toBe('destroying');
  expect(await collector(7).plan()).toEqual([]);
});
