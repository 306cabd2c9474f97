import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { expectRepair, flipByte, kinds, stateOf } from './testing/damage.ts';
import { type FsckLab, startFsckLab } from './testing/fsck-lab.ts';

let lab: FsckLab;
beforeAll(async () => {
  lab = await startFsckLab();
}, 60_000);
afterAll(() => lab?.stop());
afterEach(() => lab.reset());

describe('sandboxes', () => {
  test('one whose files are gone says so, and files of none go', async () => {
    const gone = await lab.addSandbox([], { name: 'gone' });
    const empty = await lab.addSandbox([], { name: 'empty' });
    const torn = await lab.addSandbox([], { name: 'torn' });
    await lab.addSandbox([], { name: 'whole' });
    const directory = (id: string) => join(lab.poolRoot, 'sandboxes', id);
    rmSync(directory(gone), { recursive: true });
    rmSync(join(directory(empty), 'upper'), { recursive: true });
    writeFileSync(join(directory(torn), 'disk.img'), 'no file system');
    mkdirSync(join(directory(crypto.randomUUID()), 'upper'), { recursive: true });
    mkdirSync(directory('not an id'));
    await expectRepair(lab, [
      'sandbox-files',
      'sandbox-files',
      'sandbox-files',
      'sandbox-files-of-nobody',
      'sandbox-files-of-nobody',
    ]);
    expect(await stateOf(lab, 'sandboxes', gone)).toEqual({
      state: 'error',
      error_reason: expect.stringContaining('its directory is gone'),
    });
    expect(readdirSync(join(lab.poolRoot, 'sandboxes'))).toHaveLength(3);
  });

  test('files of none that run are left', async () => {
    const id = crypto.randomUUID();
    mkdirSync(join(lab.poolRoot, 'sandboxes', id));
    lab.running.add(id);
    expect(kinds(await lab.find())).toEqual(['container-of-nobody found', 'sandbox-files-of-nobody found']);
    await lab.repair();
    expect(existsSync(join(lab.poolRoot, 'sandboxes', id))).toBe(true);
  });

  test('one that is said to run and does not is told, and the other way round', async () => {
    await lab.addSandbox([], { name: 'dead' }, 'started');
    lab.running.add(await lab.addSandbox([], { name: 'alive' }));
    expect(kinds(await lab.find())).toEqual(['sandbox-not-running found', 'sandbox-still-running found']);
    expect(await lab.find('files', { offline: true })).toEqual([]);
  });

  test('accesses to a sandbox that is gone are removed', async () => {
    const id = await lab.addSandbox([]);
    const access = { organization_id: lab.organizationId, sandbox_id: id, expires_at: new Date(Date.now() + 1e6) };
    await lab.db
      .insertInto('ssh_accesses')
      .values({ ...access, hash: Buffer.from('a') })
      .execute();
    expect(await lab.find()).toEqual([]);
    rmSync(join(lab.poolRoot, 'sandboxes', id), { recursive: true });
    await lab.db.updateTable('sandboxes').set({ state: 'destroyed' }).execute();
    await expectRepair(lab, ['access-of-nobody']);
  });
});

test('temporary files of nobody go, and those of work that goes on stay', async () => {
  for (const place of ['tmp', 'build-tmp', 'layers/tmp']) {
    mkdirSync(join(lab.poolRoot, place, 'stray', 'deep'), { recursive: true });
  }
  expect(await lab.find('files', { startedAt: new Date(0) })).toEqual([]);
  expect(await lab.find('files', { graceMs: 60_000 })).toEqual([]);
  await expectRepair(lab, ['temporary', 'temporary', 'temporary']);
});

test('uploads are what they were when they came', async () => {
  const { organizationId } = lab;
  const put = async (hash: string, text: string) => {
    await lab.scene.contexts.put(
      { organizationId, hash },
      { stream: Readable.from([Buffer.from(text)]), size: text.length },
    );
    return join(lab.poolRoot, 'contexts', 'stored', organizationId, `${hash}.tar`);
  };
  const key = { organizationId, hash: 'cc'.repeat(16) };
  const upload = await lab.scene.contexts.beginUpload(key);
  const parts = [];
  for (const [index, text] of ['first part', 'second part'].entries()) {
    const body = { stream: Readable.from([Buffer.from(text)]), size: text.length };
    parts.push(await lab.scene.contexts.putPart(key, upload, index + 1, body));
  }
  await lab.scene.contexts.completeUpload(key, upload, parts);
  const flipped = await put('aa'.repeat(16), 'whole');
  const cut = await put('bb'.repeat(16), 'whole');
  expect(await lab.find('bytes')).toEqual([]);
  flipByte(flipped, 2);
  truncateSync(cut, 2);
  flipByte(join(dirname(cut), `${key.hash}.tar`), 12);
  mkdirSync(join(lab.poolRoot, 'contexts', 'stored', crypto.randomUUID()));
  expect(kinds(await lab.find('files'))).toEqual(['context-damaged found', 'contexts-of-nobody found']);
  await expectRepair(lab, ['context-damaged', 'context-damaged', 'context-damaged', 'contexts-of-nobody'], 'bytes');
  expect(await lab.scene.contexts.list(organizationId)).toEqual([]);
});

describe('the database', () => {
  test('states, counters, leases, jobs and builds that nothing would put right', async () => {
    const { db, organizationId } = lab;
    const { id } = await lab.addSnapshot('mine', []);
    await db.updateTable('snapshots').set({ deadline_at: new Date(), owner_id: crypto.randomUUID() }).execute();
    const hung = await lab.addSnapshot('hung', []);
    await db.updateTable('snapshots').set({ state: 'pulling' }).where('id', '=', hung.id).execute();
    const late = await lab.addSnapshot('late', []);
    await db
      .updateTable('snapshots')
      .set({ state: 'pulling', deadline_at: new Date(Date.now() - 3_600_000) })
      .where('id', '=', late.id)
      .execute();
    const waiting = await lab.addSnapshot('waiting', []);
    await db
      .updateTable('snapshots')
      .set({ state: 'building', deadline_at: new Date(Date.now() + 3_600_000), build_id: crypto.randomUUID() })
      .where('id', '=', waiting.id)
      .execute();
    const forgotten = await lab.addSnapshot('forgotten', []);
    await db
      .updateTable('snapshots')
      .set({ state: 'removing', deadline_at: new Date(Date.now() + 300_000), state_entered_at: new Date(0) })
      .where('id', '=', forgotten.id)
      .execute();
    await db
      .insertInto('builds')
      .values({
        organization_id: organizationId,
        snapshot_id: id,
        sandbox_id: null,
        dockerfile: 'FROM scratch',
        context_hashes: [],
        snapshot_ref: 'ref',
        options: '{}',
        secrets: Buffer.from('sealed'),
        outcome: null,
        failure: null,
        finished_at: null,
      })
      .execute();
    await db
      .insertInto('instances')
      .values({ id: crypto.randomUUID(), runner_id: 'elsewhere', lease_expires_at: new Date(0) })
      .execute();
    await db
      .insertInto('job_runs')
      .values({ name: 'snapshot.pull', key: 'x', job_id: crypto.randomUUID(), instance_id: crypto.randomUUID() })
      .execute();
    await db.transaction().execute((trx) => {
      const gone = crypto.randomUUID();
      return lab.scene.jobs.enqueue(trx, 'snapshot.flatten', gone, { snapshotId: gone });
    });
    await sql`update pgboss.job set created_on = now() - interval '1 hour' where name = 'snapshot.flatten'`.execute(db);
    await sql`update state_counts set count = count + 3 where state = 'active'`.execute(db);
    await expectRepair(
      lab,
      [
        'build-missing',
        'build-not-ended',
        'count',
        'job-missing',
        'job-of-nobody',
        'job-run-dead',
        'lease-dead',
        'state-not-resting',
        'state-overdue',
        'state-without-deadline',
      ],
      'quick',
    );
    expect(await stateOf(lab, 'snapshots', late.id)).toMatchObject({ state: 'error' });
    expect(await stateOf(lab, 'snapshots', waiting.id)).toMatchObject({ state: 'build_failed' });
    await sql`truncate pgboss.job`.execute(db);
  });

  test('logs of builds that are gone', async () => {
    writeFileSync(join(lab.stateDir, 'build-logs', `${crypto.randomUUID()}.log`), '[]\n');
    expect(await lab.find('quick', { graceMs: 60_000 })).toEqual([]);
    await expectRepair(lab, ['log-of-nobody'], 'quick');
    expect(readdirSync(join(lab.stateDir, 'build-logs'))).toEqual([]);
  });

  test('a check that cannot look is a finding, and keeps none of the others from looking', async () => {
    renameSync(join(lab.store.root, 'by-diff-id'), join(lab.store.root, 'elsewhere'));
    mkdirSync(join(lab.poolRoot, 'tmp', 'stray'));
    expect(kinds(await lab.find())).toEqual(['check-failed found', 'temporary found']);
    renameSync(join(lab.store.root, 'elsewhere'), join(lab.store.root, 'by-diff-id'));
  });
});
