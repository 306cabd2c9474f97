import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { insertSandbox } from '../lifecycle/move.ts';
import { addOrganization, newSandbox } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { createSpoolCollector } from './collect-spool.ts';

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
