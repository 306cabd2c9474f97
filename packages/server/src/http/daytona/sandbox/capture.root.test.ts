import { expect, test } from 'vitest';
import { busybox } from '../../../test-support/layers.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

const lab = setUpServer({ layer: busybox });
const { client, snapshot } = lab;

async function create(values: object = {}) {
  const { status, body } = await client.post('/api/sandbox', { snapshot, ...values });
  expect([status, body.state], JSON.stringify(body)).toEqual([200, 'started']);
  return body;
}

const run = async (id: string, command: string) =>
  (await client.post(`/toolbox/${id}/process/execute`, { command })).body.result;
const capture = (id: string, name: unknown, more: object = {}) =>
  client.post(`/api/sandbox/${id}/snapshot`, { name, ...more });
const read = async (name: string) => (await client.get(`/api/snapshots/${name}`)).body;

test('what was prepared by hand is a snapshot when the call answers, and the sandbox goes on', async () => {
  const source = await create({ env: { GIVEN: 'yes' } });
  await run(
    source.id,
    'sh -c "echo prepared > /root/file; rm -r /home; ln /root/file /root/second; mkfifo /root/pipe"',
  );
  const { status, body } = await capture(source.id, 'prepared');
  expect([status, body.id, body.state], JSON.stringify(body)).toEqual([200, source.id, 'started']);
  const taken = await read('prepared');
  expect(taken).toMatchObject({
    state: 'active',
    initialRunnerId: 'test-runner',
    sourceSandboxId: source.id,
    cpu: 1,
    mem: 1,
    disk: 3,
    errorReason: null,
  });
  expect(taken.size).toBeGreaterThanOrEqual(taken.addedSize);
  expect(taken.addedSize).toBeGreaterThan(0);
  expect(taken.parentSnapshotId).toBe((await read(snapshot)).id);
  await run(source.id, 'sh -c "echo later > /root/file"');

  const copy = await create({ snapshot: 'prepared' });
  expect(
    await run(copy.id, 'sh -c "cat /root/file; ls /; stat -c %h,%F /root/file /root/pipe; echo $GIVEN $FROM_IMAGE"'),
  ).toMatch(/^prepared\n((?!home)\S+\n)*2,regular file\n1,fifo\nyes yes\n$/);
  const lineage = async (name: string) => (await client.get(`/api/snapshots/${name}/lineage`)).body;
  expect(await lineage('prepared')).toEqual({
    parent: { id: taken.parentSnapshotId, name: snapshot, state: 'active' },
    sourceSandbox: { id: source.id, name: source.name, state: 'started' },
    buildId: null,
    children: [],
    childrenTotal: 0,
    sandboxes: [{ id: copy.id, name: copy.name, state: 'started' }],
    sandboxesTotal: 1,
  });
  expect((await lineage(snapshot)).children).toEqual([{ id: taken.id, name: 'prepared', state: 'active' }]);
  const { items } = (await client.get(`/api/snapshots?sourceSandboxId=${source.id}`)).body;
  expect(items.map(({ name }: { name: string }) => name)).toEqual(['prepared']);
  await client.delete(`/api/sandbox/${source.id}`);
  await client.delete(`/api/sandbox/${copy.id}`);
});

test('one that is stopped is captured, and captures of captures have the files of all', async () => {
  let from = snapshot;
  for (let level = 1; level <= 4; level += 1) {
    const sandbox = await create({ snapshot: from });
    await run(sandbox.id, `sh -c "echo ${level} > /root/level-${level}; rm -f /root/level-${level - 2}"`);
    if (level % 2 === 0) await client.post(`/api/sandbox/${sandbox.id}/stop?force=true`);
    from = `level-${level}`;
    expect((await capture(sandbox.id, from)).status).toBe(200);
    await client.delete(`/api/sandbox/${sandbox.id}`);
  }
  await lab.server.restart();
  const last = await create({ snapshot: from });
  expect(await run(last.id, 'sh -c "ls /root; cat /root/level-4"')).toBe('level-3\nlevel-4\n4\n');
  await client.delete(`/api/sandbox/${last.id}`);
});

test('captures on captures are put together in the background, and show the same', async () => {
  let from = snapshot;
  for (let level = 1; level <= 8; level += 1) {
    const sandbox = await create({ snapshot: from });
    await run(sandbox.id, `sh -c "echo ${level} > /root/deep-${level}; rm -f /root/deep-${level - 3}"`);
    from = `deep-${level}`;
    expect((await capture(sandbox.id, from)).status).toBe(200);
    await client.delete(`/api/sandbox/${sandbox.id}`);
  }
  const layersOf = async (name: string) =>
    (await lab.server.db.selectFrom('snapshots').select('layers').where('name', '=', name).executeTakeFirst())
      ?.layers ?? [];
  // The base, one in the place of six, and none or a few that came later.
  await expect.poll(async () => (await layersOf('deep-6')).length, { timeout: 20_000 }).toBe(2);
  const six = await create({ snapshot: 'deep-6' });
  expect(await run(six.id, 'ls /root')).toBe('deep-4\ndeep-5\ndeep-6\n');
  await expect.poll(async () => (await layersOf(from)).length, { timeout: 20_000 }).toBeLessThanOrEqual(4);
  const last = await create({ snapshot: from });
  expect(await run(last.id, 'ls /root')).toBe('deep-6\ndeep-7\ndeep-8\n');
  for (const { id } of [six, last]) await client.delete(`/api/sandbox/${id}`);
});

test('without a change the layers are the same', async () => {
  const sandbox = await create();
  expect((await capture(sandbox.id, 'unchanged')).status).toBe(200);
  const rows = await lab.server.db.selectFrom('snapshots').select(['name', 'layers', 'added_bytes']).execute();
  const layersOf = (name: string) => rows.find((row) => row.name === name)?.layers;
  expect(layersOf('unchanged')).toEqual(layersOf(snapshot));
  expect(rows.find(({ name }) => name === 'unchanged')?.added_bytes).toBe(0);
  await client.delete(`/api/sandbox/${sandbox.id}`);
});

test('what cannot be is refused before anything starts', async () => {
  const sandbox = await create();
  expect((await capture(sandbox.id, 'not a name')).status).toBe(400);
  expect((await capture(sandbox.id, '')).status).toBe(400);
  expect((await capture(sandbox.id, undefined)).status).toBe(400);
  expect((await capture(sandbox.id, 'memory', { includeMemory: true })).status).toBe(400);
  expect(await capture(sandbox.id, snapshot)).toMatchObject({ status: 409 });
  expect((await capture('00000000-0000-4000-8000-000000000000', 'nobody')).status).toBe(404);
  const names = await lab.server.db.selectFrom('snapshots').select('name').execute();
  for (const name of ['memory', 'nobody', 'not a name']) expect(names.map((row) => row.name)).not.toContain(name);
  await client.delete(`/api/sandbox/${sandbox.id}`);
});

test('of two captures at once under one name, one is made', async () => {
  const sandbox = await create();
  await run(sandbox.id, 'sh -c "echo x > /root/x"');
  const answers = await Promise.all([capture(sandbox.id, 'twice'), capture(sandbox.id, 'twice')]);
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
  expect(await read('twice')).toMatchObject({ state: 'active' });
  await client.delete(`/api/sandbox/${sandbox.id}`);
});

test('a capture that fails is an answer and a state with a reason', async () => {
  const sandbox = await create();
  await run(sandbox.id, 'sh -c "echo x > /root/x"');
  await lab.server.db
    .updateTable('organizations')
    .set({ max_snapshot_size_gb: 0 })
    .where('id', '=', lab.organizationId)
    .execute();
  const { status, body } = await capture(sandbox.id, 'too-large');
  await lab.server.db
    .updateTable('organizations')
    .set({ max_snapshot_size_gb: 20 })
    .where('id', '=', lab.organizationId)
    .execute();
  expect(status, JSON.stringify(body)).toBeGreaterThanOrEqual(400);
  expect(await read('too-large')).toMatchObject({
    state: 'error',
    errorReason: expect.stringContaining('0 GB is the most'),
  });
  expect((await client.get(`/api/sandbox/${sandbox.id}`)).body.state).toBe('started');
  expect((await client.delete(`/api/snapshots/${(await read('too-large')).id}`)).status).toBe(200);
  expect((await capture(sandbox.id, 'too-large')).status).toBe(200);
  await client.delete(`/api/sandbox/${sandbox.id}`);
});
