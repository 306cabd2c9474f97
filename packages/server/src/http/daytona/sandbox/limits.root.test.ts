import { expect, test } from 'vitest';
import { mayResize } from '../../../runtime/container/disk/grow-disk.ts';
import { busybox } from '../../../test-support/layers.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

const GIB = 1024 ** 3;
const MIB = 1024 ** 2;
const lab = setUpServer({ layer: busybox, values: { mem: 0.125, disk: 0.05 } });
const { client, snapshot } = lab;

async function create(values: object = {}): Promise<string> {
  const { status, body } = await client.post('/api/sandbox', { snapshot, ...values });
  expect(status).toBe(200);
  return body.id;
}

const run = (id: string, command: string) => client.post(`/toolbox/${id}/process/execute`, { command });
const resize = (id: string, size: object) => client.post(`/api/sandbox/${id}/resize`, size);
const read = async (id: string) => (await client.get(`/api/sandbox/${id}`)).body;
const remove = (id: string) => client.delete(`/api/sandbox/${id}`);

test('a sandbox that runs is resized without a break, and keeps its size over a stop', async () => {
  const id = await create();
  await run(id, 'sleep 5000 >/dev/null 2>&1 & echo $! > /root/pid');
  const { status, body } = await resize(id, { cpu: 2, memory: 0.25 });
  expect([status, body]).toEqual([
    200,
    expect.objectContaining({ cpu: 2, memory: 0.25, disk: 0.05, state: 'started', desiredState: 'started' }),
  ]);
  expect((await run(id, 'kill -0 $(cat /root/pid) && echo on')).body.result).toBe('on\n');
  expect((await lab.server.runtime.usage(id)).run?.memoryLimitBytes).toBe(0.25 * GIB);
  expect((await resize(id, { memory: 0.1 })).body.memory).toBe(0.1);
  await client.post(`/api/sandbox/${id}/stop?force=true`);
  await client.post(`/api/sandbox/${id}/start`);
  const limit = (await lab.server.runtime.usage(id)).run?.memoryLimitBytes ?? 0;
  expect(Math.abs(limit - 0.1 * GIB)).toBeLessThan(4096);
  await remove(id);
});

test('a stopped sandbox gets a larger disk, which never shrinks', async () => {
  const id = await create();
  await run(id, 'echo kept > /root/file');
  await client.post(`/api/sandbox/${id}/stop?force=true`);
  expect((await resize(id, { disk: 0.1 })).body).toMatchObject({
    disk: 0.1,
    state: 'stopped',
    desiredState: 'stopped',
  });
  await client.post(`/api/sandbox/${id}/start`);
  const { result } = (
    await run(id, 'cat /root/file; dd if=/dev/zero of=/root/big bs=1M count=70 2>/dev/null && echo ok')
  ).body;
  expect(result).toBe('kept\nok\n');
  expect(await resize(id, { disk: 0.05 })).toMatchObject({
    status: 400,
    body: { message: 'Disk size can only be increased: it is 0.1GiB' },
  });
  await remove(id);
});

test('what cannot be done leaves the sandbox as it was', async () => {
  const id = await create();
  const bad = [
    {},
    { cpu: 0 },
    { memory: -1 },
    { disk: null },
    { cpu: 'much' },
    { cpu: 5 },
    { memory: 9 },
    { disk: 11 },
  ];
  for (const size of bad) expect([size, (await resize(id, size)).status]).toEqual([size, 400]);
  const held = 'head -c 60m /dev/zero > /dev/shm/held && echo held';
  expect((await run(id, held)).body.result).toBe('held\n');
  const refused = await resize(id, { cpu: 2, memory: 0.03 });
  expect(refused).toMatchObject({ status: 400, body: { message: expect.stringContaining('uses more memory') } });
  expect((await resize(id, { memory: 0.03, disk: 0.2 })).status).toBe(400);
  expect((await lab.server.runtime.usage(id)).disk?.totalBytes).toBeLessThan(0.05 * GIB + 1);
  if (!(await mayResize())) {
    const disk = await resize(id, { memory: 0.25, disk: 1 });
    expect(disk).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining('cannot grow under a running') },
    });
  }
  expect((await lab.server.runtime.usage(id)).run?.memoryLimitBytes).toBe(0.125 * GIB);
  expect(await read(id)).toMatchObject({ cpu: 1, memory: 0.125, disk: 0.05, state: 'started' });
  expect((await resize('00000000-0000-4000-8000-000000000000', { cpu: 1 })).status).toBe(404);
  await remove(id);
});

test('resizes at once cannot take more than the organization has', async () => {
  const ids = [await create(), await create(), await create()];
  await lab.server.db
    .updateTable('organizations')
    .set({ total_cpu_quota: 6 })
    .where('id', '=', lab.organizationId)
    .execute();
  const answers = await Promise.all(ids.map((id) => resize(id, { cpu: 3 })));
  await lab.server.db
    .updateTable('organizations')
    .set({ total_cpu_quota: 100 })
    .where('id', '=', lab.organizationId)
    .execute();
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 400, 400]);
  for (const id of ids) await remove(id);
});

test('a paused sandbox stands still, refuses commands, and goes on where it was', async () => {
  const id = await create();
  await run(id, 'while :; do echo x >> /root/ticks; sleep 0.01; done >/dev/null 2>&1 &');
  expect((await client.post(`/api/sandbox/${id}/pause`)).body).toMatchObject({
    state: 'paused',
    desiredState: 'paused',
  });
  const { cpuMicros } = (await lab.server.runtime.usage(id)).run ?? {};
  expect(await run(id, 'true')).toMatchObject({ status: 400, body: { message: expect.stringContaining('paused') } });
  expect((await client.post(`/api/sandbox/${id}/pause`)).body.state).toBe('paused');
  expect((await resize(id, { cpu: 2 })).status).toBe(400);
  expect((await lab.server.runtime.usage(id)).run?.cpuMicros).toBe(cpuMicros);
  expect((await client.post(`/api/sandbox/${id}/start`)).body).toMatchObject({ state: 'started' });
  const ticks = async () => Number((await run(id, 'wc -l < /root/ticks')).body.result);
  const before = await ticks();
  await expect.poll(ticks).toBeGreaterThan(before);
  await remove(id);
});

test('a paused sandbox is stopped and deleted like any other', async () => {
  const [first, second] = [await create(), await create()];
  for (const id of [first, second]) await client.post(`/api/sandbox/${id}/pause`);
  expect((await client.post(`/api/sandbox/${first}/stop`)).body.state).toBe('stopped');
  expect((await client.post(`/api/sandbox/${first}/pause`)).status).toBe(400);
  expect((await client.post(`/api/sandbox/${first}/start`)).body.state).toBe('started');
  expect((await remove(second)).status).toBe(200);
  await expect.poll(async () => (await lab.server.runtime.list()).some(({ id }) => id === second)).toBe(false);
  await remove(first);
});

test('a paused sandbox is not stopped for want of use, and its minutes begin anew when it goes on', async () => {
  const id = await create({ autoStopInterval: 1 });
  await client.post(`/api/sandbox/${id}/pause`);
  const longAgo = new Date(Date.now() - 3_600_000);
  await lab.server.db.updateTable('sandboxes').set({ last_activity_at: longAgo }).where('id', '=', id).execute();
  await lab.server.restart();
  expect((await read(id)).state).toBe('paused');
  expect((await client.post(`/api/sandbox/${id}/start`)).body.state).toBe('started');
  expect(Date.parse((await read(id)).lastActivityAt)).toBeGreaterThan(longAgo.getTime() + 3_000_000);
  await remove(id);
});

test('after a restart of the server the paused are paused, and what was half done is done', async () => {
  const paused = await create();
  const died = await create();
  for (const id of [paused, died]) await client.post(`/api/sandbox/${id}/pause`);
  const [pausing, resuming, resizing] = [await create(), await create(), await create()];
  await client.post(`/api/sandbox/${resuming}/pause`);
  const { db } = lab.server;
  const set = (id: string, values: object) => db.updateTable('sandboxes').set(values).where('id', '=', id).execute();
  await set(pausing, { state: 'pausing' });
  await set(resuming, { state: 'resuming' });
  await set(resizing, { state: 'resizing', memory: 0.25 });
  await lab.server.runtime.stop(died, { graceMs: 0 });
  await lab.server.restart();
  expect(
    await Promise.all([paused, pausing, resuming, resizing, died].map(async (id) => (await read(id)).state)),
  ).toEqual(['paused', 'paused', 'started', 'started', 'stopped']);
  expect((await lab.server.runtime.usage(resizing)).run?.memoryLimitBytes).toBe(0.25 * GIB);
  expect((await run(resuming, 'echo on')).body.result).toBe('on\n');
  expect((await client.post(`/api/sandbox/${paused}/start`)).body.state).toBe('started');
  expect((await run(paused, 'echo on')).body.result).toBe('on\n');
  for (const id of [paused, pausing, resuming, resizing, died]) await remove(id);
});

test('a command that is killed at the memory limit says why, and the sandbox goes on', async () => {
  const id = await create();
  const { body } = await run(id, 'head -c 400m /dev/zero | tail > /dev/null; exit $?');
  expect(body).toMatchObject({
    exitCode: 137,
    'x-out-of-memory': true,
    result: expect.stringContaining('memory limit'),
  });
  expect((await run(id, 'exit 137')).body).toEqual({ exitCode: 137, result: '' });
  const events = await lab.server.db
    .selectFrom('events')
    .selectAll()
    .where('subject_id', '=', id)
    .orderBy('id')
    .execute();
  expect(events.at(-1)).toMatchObject({ reason: expect.stringContaining('Out of memory'), to_state: 'started' });
  expect((await client.get(`/toolbox/${id}/system/metrics`)).body['x-oom-kills']).toBeGreaterThan(0);
  await remove(id);
});

test('a command of a session that is killed at the memory limit says why, and its shell goes on', async () => {
  const id = await create();
  const session = `/toolbox/${id}/process/session`;
  await client.post(session, { sessionId: 'work' });
  const execute = async (command: string) => (await client.post(`${session}/work/exec`, { command })).body;
  expect(await execute('head -c 400m /dev/zero | tail > /dev/null')).toMatchObject({
    exitCode: 137,
    stderr: expect.stringContaining('reached its memory limit'),
  });
  expect(await execute('(exit 137)')).toMatchObject({ exitCode: 137, stderr: '' });
  await remove(id);
});

test('the metrics of a sandbox are of its own limits', async () => {
  const id = await create();
  await run(id, 'dd if=/dev/zero of=/root/file bs=1M count=10 2>/dev/null; sync');
  const { status, body } = await client.get(`/toolbox/${id}/system/metrics`);
  expect(status).toBe(200);
  expect(body).toMatchObject({ cpuCount: 1, memTotal: 0.125 * GIB });
  expect(body.diskUsed).toBeGreaterThan(10 * MIB);
  expect(body.diskTotal).toBeLessThan(0.05 * GIB + 1);
  expect(body.diskFree).toBe(body.diskTotal - body.diskUsed);
  expect(body.memUsed).toBeGreaterThan(0);
  expect(body.cpuUsedPct).toBeGreaterThanOrEqual(0);
  expect(body.cpuUsedPct).toBeLessThanOrEqual(100);
  expect(new Date(body.timestamp).getTime()).toBeGreaterThan(Date.now() - 60_000);
  await remove(id);
});

test('a full disk is told as such, also by the file routes', async () => {
  const id = await create();
  expect((await run(id, 'cat /dev/zero > /root/big')).body.result).toContain('No space left on device');
  const form = new FormData();
  form.set('file', new Blob([Buffer.alloc(4 * MIB)]), 'file');
  const answer = await client.send('POST', `/toolbox/${id}/files/upload?path=/root/more`, { body: form });
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(await answer.text()).toMatch(/space/);
  await remove(id);
});
