import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { sql } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Layer } from '../images/types.ts';
import { run } from '../platform/process.ts';
import { expectRepair, flipByte, kinds, makeBuilt, reasonsOf, recorded, stateOf } from './testing/damage.ts';
import { type FsckLab, startFsckLab } from './testing/fsck-lab.ts';

let lab: FsckLab;
beforeAll(async () => {
  lab = await startFsckLab();
}, 60_000);
afterAll(() => lab?.stop());
afterEach(async () => {
  vi.useRealTimers();
  await lab.reset();
});

test('nothing is found where nothing is wrong', async () => {
  const { layers } = await lab.addPulled('app', [{ files: { a: 'a' } }, { files: { b: 'b' } }]);
  const built = await makeBuilt(lab, { c: 'c' });
  await lab.addSnapshot('built', [...layers, built]);
  await lab.addSandbox(layers.map(({ diffId }) => diffId));
  for (const depth of ['quick', 'files', 'bytes'] as const) expect(await lab.find(depth)).toEqual([]);
  expect(await lab.find('bytes', { offline: true })).toEqual([]);
});

describe('layers of images', () => {
  test('one whose directory is gone is fetched again, to where it was, and events say so', async () => {
    const { id, layers } = await lab.addPulled('app', [{ files: { 'etc/': '', 'etc/a': 'a' } }, { files: { b: 'b' } }]);
    const [lost] = layers;
    rmSync(dirname(lost?.path ?? ''), { recursive: true });
    const [found] = await lab.find('quick');
    expect(found).toMatchObject({ kind: 'layer-missing', id: lost?.diffId, where: 'snapshot app', outcome: 'found' });
    const [repaired] = await expectRepair(lab, ['layer-missing'], 'quick');
    expect(repaired?.note).toBe('fetched again');
    const again = (await lab.store.list()).find(({ diffId }) => diffId === lost?.diffId);
    expect(readFileSync(join(again?.path ?? '', 'etc/a'), 'utf8')).toBe('a');
    expect(await stateOf(lab, 'snapshots', id)).toEqual({ state: 'active', error_reason: null });
    expect(await reasonsOf(lab, id)).toEqual([
      expect.stringContaining('was missing (its files are gone). It was fetched again.'),
    ]);
  });

  test('one byte that is not what it was is found by reading, and the layer is fetched again', async () => {
    const { id, layers } = await lab.addPulled('app', [{ files: { 'bin/': '', 'bin/tool': 'a tool' } }]);
    const path = join(layers[0]?.path ?? '', 'bin/tool');
    flipByte(path);
    expect(await lab.find('files')).toEqual([]);
    const [repaired] = await expectRepair(lab, ['layer-damaged'], 'bytes');
    expect(repaired?.problem).toContain('/bin/tool: its bytes');
    expect(readFileSync(path, 'utf8')).toBe('a tool');
    expect(await reasonsOf(lab, id)).toEqual([expect.stringContaining('was damaged (/bin/tool: its bytes)')]);
    // The old files stay for what runs on them, and are nobody's afterwards.
    expect(readdirSync(join(lab.store.root, 'damaged'))).toEqual([basename(dirname(layers[0]?.path ?? ''))]);
    // A build or a start that began before may have them for a moment.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 120_000 });
    await expectRepair(lab, ['layer-set-aside'], 'quick', { offline: true });
    expect(readdirSync(join(lab.store.root, 'damaged'))).toEqual([]);
  });

  test('files that are set aside while their layer is fetched again are somebody’s, however long that takes', async () => {
    const { layers } = await lab.addPulled('app', [{ files: { a: 'a' } }]);
    const aside = await lab.store.setAside(layers[0]?.diffId ?? '');
    expect(readdirSync(join(lab.store.root, 'damaged'))).toHaveLength(1);
    expect(kinds(await lab.find('quick', { offline: true }))).not.toContain('layer-set-aside found');
    await aside?.putBack();
    expect(await lab.find('files', { offline: true })).toEqual([]);
  });

  test('old files of a damaged layer are kept as long as a sandbox runs on them', async () => {
    const { layers } = await lab.addPulled('app', [{ files: { a: 'a' } }]);
    const sandbox = await lab.addSandbox(
      layers.map(({ diffId }) => diffId),
      {},
      'started',
    );
    lab.running.add(sandbox);
    appendFileSync(join(layers[0]?.path ?? '', 'a'), 'more');
    expect(kinds(await lab.repair())).toEqual(['layer-damaged repaired']);
    expect(await lab.repair('files', { offline: true })).toEqual([]);
    expect(readdirSync(join(lab.store.root, 'damaged'))).toHaveLength(1);
  });

  test('where no registry has it the finding stays, a later run has more luck, and snapshots that can be pulled anew rest', async () => {
    const { id, layers } = await lab.addPulled('app', [{ files: { a: 'a' } }]);
    const path = join(layers[0]?.path ?? '', 'a');
    appendFileSync(path, 'more');
    await lab.db.updateTable('snapshots').set({ ref: 'localhost:1/app:1' }).execute();
    const [failed] = await lab.repair();
    expect(failed).toMatchObject({
      kind: 'layer-damaged',
      outcome: 'failed',
      note: expect.stringContaining('no image'),
    });
    expect(readFileSync(path, 'utf8')).toBe('amore');
    expect(await stateOf(lab, 'snapshots', id)).toEqual({ state: 'active', error_reason: null });
    rmSync(dirname(path), { recursive: true });
    rmSync(join(lab.store.root, 'damaged'), { recursive: true, force: true });
    mkdirSync(join(lab.store.root, 'damaged'));
    expect(kinds(await lab.repair())).toEqual(['layer-missing repaired']);
    expect(await stateOf(lab, 'snapshots', id)).toEqual({ state: 'inactive', error_reason: null });
    expect(await lab.find()).toEqual([]);
  });
});

describe('layers that were made here', () => {
  const build = async (snapshotId: string, values: Record<string, unknown> = {}) => {
    const row = await lab.db
      .insertInto('builds')
      .values({
        organization_id: lab.organizationId,
        snapshot_id: snapshotId,
        sandbox_id: null,
        dockerfile: 'FROM scratch\nCOPY a a',
        context_hashes: [],
        snapshot_ref: 'ref',
        options: JSON.stringify({ target: 'last' }),
        secrets: null,
        outcome: 'succeeded',
        failure: null,
        finished_at: new Date(),
        ...values,
      })
      .returning('id')
      .executeTakeFirstOrThrow();
    await lab.db.updateTable('snapshots').set({ build_id: row.id }).where('id', '=', snapshotId).execute();
    return row.id;
  };

  test('a snapshot with its definition is built again; a captured one and sandboxes that rest say what they lost', async () => {
    const layer = await makeBuilt(lab, { a: 'a' });
    const built = await lab.addSnapshot('built', [layer]);
    const buildId = await build(built.id);
    const source = crypto.randomUUID();
    const captured = await lab.addSnapshot('captured', [layer], { source_sandbox_id: source });
    const stopped = await lab.addSandbox([layer.diffId], { name: 'stopped' });
    await lab.db
      .insertInto('build_cache')
      .values({
        organization_id: lab.organizationId,
        runner_id: 'here',
        key: Buffer.alloc(32),
        layer: layer.diffId,
        size_bytes: 1,
        parts: '{}',
        text_digest: Buffer.alloc(32),
        build_id: buildId,
        boot_id: null,
      })
      .execute();
    flipByte(join(layer.path, 'a'));
    const [found] = await lab.find('bytes');
    expect(found?.repair).toBe('build snapshot built again; mark snapshot captured, sandbox stopped as failed');
    expect(kinds(await lab.repair('bytes'))).toEqual(['cache-layer repaired', 'layer-damaged repaired']);
    expect(await lab.find('bytes')).toEqual([]);

    expect(await stateOf(lab, 'snapshots', built.id)).toMatchObject({ state: 'building' });
    const builds = await lab.db.selectFrom('builds').selectAll().where('outcome', 'is', null).execute();
    expect(builds).toEqual([
      expect.objectContaining({
        snapshot_id: built.id,
        dockerfile: 'FROM scratch\nCOPY a a',
        options: { target: 'last' },
      }),
    ]);
    const { rows: jobs } = await sql<{ key: string }>`
      select singleton_key as key from pgboss.job where name = 'snapshot.build' and state = 'created'`.execute(lab.db);
    expect(jobs.map(({ key }) => key)).toContain(builds[0]?.id);
    expect(await stateOf(lab, 'snapshots', captured.id)).toEqual({
      state: 'error',
      error_reason: expect.stringMatching(/damaged on the disk \(\/a: its bytes\).*captured from sandbox/),
    });
    expect(await stateOf(lab, 'sandboxes', stopped)).toEqual({
      state: 'error',
      error_reason: expect.stringContaining('What it wrote itself is kept'),
    });
    expect(await reasonsOf(lab, captured.id)).toHaveLength(1);
    // Its files are kept for as long as the row is there.
    expect(existsSync(join(layer.path, 'a'))).toBe(true);
  });

  test.each([
    ['a secret', { dockerfile: 'FROM scratch\nRUN --mount=type=secret,id=x true' }],
    ['an upload that is gone', { context_hashes: ['ab'.repeat(16)] }],
  ])('a build with %s is not tried again', async (_what, values) => {
    const layer = await makeBuilt(lab, { a: 'a' });
    const { id } = await lab.addSnapshot('built', [layer]);
    await build(id, values);
    rmSync(dirname(layer.path), { recursive: true });
    await expectRepair(lab, ['layer-missing'], 'quick');
    expect(await stateOf(lab, 'snapshots', id)).toEqual({
      state: 'error',
      error_reason: expect.stringContaining('Delete it and create it again'),
    });
  });

  test('a sandbox that runs is left alone, and the finding stays', async () => {
    const layer = await makeBuilt(lab, { a: 'a' });
    const id = await lab.addSandbox([layer.diffId], {}, 'started');
    lab.running.add(id);
    flipByte(join(layer.path, 'a'));
    const [left] = await lab.repair('bytes');
    expect(left).toMatchObject({ kind: 'layer-damaged', repair: null, outcome: 'found' });
    expect(await stateOf(lab, 'sandboxes', id)).toEqual({ state: 'started', error_reason: null });
  });
});

describe('the store', () => {
  test('a record that cannot be read is written again, and so is a name that leads elsewhere', async () => {
    const { layers } = await lab.addPulled('app', [{ files: { a: 'a' } }, { files: { b: 'b' } }]);
    const [first, second] = layers.map(({ path }) => join(dirname(path), 'layer.json'));
    const whole = readFileSync(first ?? '', 'utf8');
    truncateSync(first ?? '', 10);
    const name = join(lab.store.root, 'by-diff-id', layers[1]?.diffId ?? '');
    unlinkSync(name);
    symlinkSync('/nowhere', join(lab.store.root, 'by-diff-id', 'sha256:stray'));
    await expectRepair(lab, ['layer-name', 'layer-name', 'layer-record'], 'quick');
    expect(readFileSync(first ?? '', 'utf8')).toBe(whole);
    expect(existsSync(second ?? '')).toBe(true);
  });

  test('the next server knows a layer without a readable record by its name, and takes nothing away', async () => {
    const { layers } = await lab.addPulled('app', [{ files: { a: 'a' } }]);
    const record = join(dirname(layers[0]?.path ?? ''), 'layer.json');
    truncateSync(record, 10);
    await lab.reopen();
    expect(lab.store.restored).toEqual([{ diffId: layers[0]?.diffId, path: record }]);
    expect(await lab.find()).toEqual([expect.objectContaining({ kind: 'snapshot-size' })]);
    expect(kinds(await lab.repair())).toEqual(['snapshot-size repaired']);
    expect(await lab.find('bytes')).toEqual([]);
  });

  test('sizes that are not right are corrected', async () => {
    const big = 'x'.repeat(8_000_000);
    const { id, layers } = await lab.addPulled('app', [{ files: { big } }]);
    await lab.store.rewriteRecord(layers[0]?.diffId ?? '', 5);
    await lab.db.updateTable('snapshots').set({ size_bytes: 7 }).where('id', '=', id).execute();
    expect(kinds(await lab.find())).toEqual(['layer-size found', 'snapshot-size found']);
    expect(kinds(await lab.repair())).toEqual(['layer-size repaired', 'snapshot-size repaired']);
    expect(await lab.repair()).toEqual([]);
    const { size_bytes: size } = await lab.db.selectFrom('snapshots').select('size_bytes').executeTakeFirstOrThrow();
    expect(size).toBeGreaterThanOrEqual(8_000_000);
    expect(await reasonsOf(lab, id)).toEqual([expect.stringContaining('Its size was written as 7 bytes')]);
  });

  test('what a capture adds is its own layer', async () => {
    const parent = await lab.addPulled('app', [{ files: { a: 'a' } }]);
    const own = await makeBuilt(lab, { own: 'four' });
    await lab.addSnapshot('captured', [...parent.layers, own], {
      parent_snapshot_id: parent.id,
      source_sandbox_id: crypto.randomUUID(),
      added_bytes: 99,
    });
    await expectRepair(lab, ['snapshot-size'], 'quick');
    const row = await lab.db
      .selectFrom('snapshots')
      .select('added_bytes')
      .where('name', '=', 'captured')
      .executeTakeFirst();
    expect(row?.added_bytes).toBe(4);
  });

  test('layers that no row names go, but not one that is held', async () => {
    const kept = await makeBuilt(lab, { a: 'a' });
    await makeBuilt(lab, { b: 'b' });
    await lab.addSnapshot('mine', [kept]);
    expect(await lab.find()).toEqual([]);
    {
      using _hold = lab.layers.hold();
      await makeBuilt(lab, { c: 'c' });
      expect(await lab.find('files', { offline: true })).toHaveLength(1);
    }
    await expectRepair(lab, ['layer-orphan', 'layer-orphan'], 'files', { offline: true });
    expect((await lab.store.list()).map(({ diffId }) => diffId)).toEqual([kept.diffId]);
  });

  test('where a server runs, only what garbage collection should have taken long ago is an orphan', async () => {
    const stray = await makeBuilt(lab, { a: 'a' });
    await sql`insert into garbage_marks (runner_id, kind, id, reason, marked_at)
      values ('here', 'layer', ${stray.diffId}, 'nothing names it', now() - interval '10 minutes')`.execute(lab.db);
    expect(await lab.find('files', { graceMs: 3_600_000 })).toEqual([]);
    await expectRepair(lab, ['layer-orphan'], 'files', { graceMs: 60_000 });
  });
});

describe('captured layers', () => {
  test.each([
    ['its superblock is overwritten', 'its disk holds no ext4', (image: string) => flipByte(image, 1024 + 0x38)],
    ['it is cut', 'its disk ends before its file system does', (image: string) => truncateSync(image, 4 << 20)],
    ['it is gone', 'its disk cannot be opened', (image: string) => rmSync(image)],
  ])('a disk is found damaged when %s', async (_what, why, damage) => {
    const layer = await makeCaptured();
    const { id } = await lab.addSnapshot('captured', [layer], { source_sandbox_id: crypto.randomUUID() });
    expect(await lab.find('bytes')).toEqual([]);
    damage(join(dirname(layer.path), 'disk.img'));
    const [repaired] = await expectRepair(lab, ['layer-damaged'], 'quick');
    expect(repaired?.problem).toContain(why);
    expect(await stateOf(lab, 'snapshots', id)).toMatchObject({ state: 'error' });
  });

  test('a byte of a file in it is found by reading', async () => {
    const layer = await makeCaptured();
    await lab.addSnapshot('captured', [layer], { source_sandbox_id: crypto.randomUUID() });
    const image = join(dirname(layer.path), 'disk.img');
    const at = readFileSync(image).indexOf('content of a captured file');
    flipByte(image, at);
    // What the kernel has of it in memory hides what is on the disk.
    await lab.reopen();
    await expectRepair(lab, ['layer-damaged'], 'bytes');
  });

  test('one whose place to mount on is gone loses nothing', async () => {
    const layer = await makeCaptured();
    await lab.addSnapshot('captured', [layer], { source_sandbox_id: crypto.randomUUID() });
    await lab.store.close();
    rmSync(layer.path, { recursive: true });
    await lab.reopen();
    expect(await lab.repair('bytes')).toEqual([]);
    expect(readFileSync(join(layer.path, 'file'), 'utf8')).toContain('content of a captured file');
  });

  async function makeCaptured(): Promise<Layer> {
    const directory = join(lab.poolRoot, 'tmp', 'files');
    mkdirSync(join(directory, 'upper'), { recursive: true });
    writeFileSync(join(directory, 'upper', 'file'), 'content of a captured file'.padEnd(10_000, '.'));
    const image = join(lab.poolRoot, 'tmp', 'image');
    writeFileSync(image, '');
    truncateSync(image, 8 << 20);
    await run('mkfs.ext4', ['-q', '-F', '-b', '4096', '-d', directory, image], { timeoutMs: 10_000 });
    rmSync(directory, { recursive: true });
    const layer = await lab.layers.makeFromDisk(image, 'upper');
    return recorded(layer);
  }
});
