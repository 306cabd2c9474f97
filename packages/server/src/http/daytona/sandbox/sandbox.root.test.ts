import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { httpClient } from '../../../test-support/http-client.ts';
import { busybox } from '../../../test-support/layers.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

const lab = setUpServer({ layer: busybox });
const { client, snapshot } = lab;

async function create(values: object = {}) {
  const { status, body } = await client.post('/api/sandbox', { snapshot, ...values });
  expect(body).toMatchObject({ state: 'started' });
  expect(status).toBe(200);
  return body;
}

const run = (id: string, command: string) => client.post(`/toolbox/${id}/process/execute`, { command });
const stateOf = async (id: string) => (await client.get(`/api/sandbox/${id}`)).body?.state;

test('a created sandbox is started, complete on the wire, and found by id and name', async () => {
  const sandbox = await create({ name: 'first', env: { A: '1' }, labels: { 'code-toolbox-language': 'python' } });
  expect(sandbox).toMatchObject({
    organizationId: lab.organizationId,
    name: 'first',
    snapshot,
    user: 'root',
    env: { A: '1' },
    labels: { 'code-toolbox-language': 'python' },
    public: false,
    networkBlockAll: false,
    target: 'local',
    cpu: 1,
    gpu: 0,
    memory: 1,
    disk: 3,
    state: 'started',
    desiredState: 'started',
    autoStopInterval: 15,
    autoArchiveInterval: 10080,
    autoDeleteInterval: -1,
    toolboxProxyUrl: `${lab.server.url}/toolbox`,
  });
  expect((await client.get(`/api/sandbox/${sandbox.id}`)).body).toEqual(sandbox);
  expect((await client.get('/api/sandbox/first')).body).toEqual(sandbox);
  const { items } = (await client.get('/api/sandbox?labels=%7B%22code-toolbox-language%22%3A%22python%22%7D')).body;
  expect(items).toHaveLength(1);
  expect(items[0]).toMatchObject({ id: sandbox.id, toolboxProxyUrl: `${lab.server.url}/toolbox` });
  await client.delete(`/api/sandbox/${sandbox.id}`);
});

test('without a name the id is the name', async () => {
  const sandbox = await create();
  expect(sandbox.name).toBe(sandbox.id);
  await client.delete(`/api/sandbox/${sandbox.id}`);
});

test.each([
  [
    { snapshot: 'nowhere' },
    400,
    'Snapshot nowhere not found. Did you add it through the Daytona Dashboard? There is none here: daytona.snapshot.create({ name, image }) makes snapshots.',
  ],
  [{ cpu: 2 }, 400, 'Cannot specify Sandbox resources when using a snapshot'],
  [{ env: { 'A=B': '1' } }, 400, 'Environment variable name "A=B" must not contain "=" or NUL'],
  [{ name: '' }, 400, 'The name of a sandbox must not be empty or contain control characters'],
  [{ name: 'a\nb' }, 400, 'The name of a sandbox must not be empty or contain control characters'],
  [{ user: 'a b' }, 400, 'User "a b" is not a valid user name or id'],
  [{ volumes: [{ volumeId: 'v', mountPath: '/v' }] }, 400, 'Volumes are not supported by this server yet'],
  [{ ttlMinutes: 5 }, 400, 'A time to live (ttlMinutes) is not supported by this server yet'],
  [{ secrets: [{ A: 'b' }] }, 400, 'Secrets are not supported by this server yet'],
  [{ networkAllowList: '10.0.0.0/8,10.0.0.1' }, 400, '"10.0.0.1" is not an IPv4 range'],
  [{ domainAllowList: 'https://example.com' }, 400, '"https://example.com" is not a domain'],
  [{ bandwidthMbps: { in: -1 } }, 400, 'bandwidthMbps.in must be'],
  [{ target: 'mars' }, 400, 'is not available in region mars'],
  [{ env: { A: 1 } }, 400, 'env.A must be a string'],
])('creating with %j is refused', async (values, status, message) => {
  const answer = await client.post('/api/sandbox', { snapshot, ...values });
  expect(answer).toMatchObject({ status, body: { statusCode: status, message: expect.stringContaining(message) } });
});

test('a snapshot that is not active says its state', async () => {
  const inactive = await lab.server.addSnapshot(lab.organizationId, busybox);
  await lab.server.db.updateTable('snapshots').set({ state: 'inactive' }).where('name', '=', inactive).execute();
  const { status, body } = await client.post('/api/sandbox', { snapshot: inactive });
  expect({ status, message: body.message }).toEqual({ status: 400, message: `Snapshot ${inactive} is inactive` });
});

test('a name is taken once, and free when its sandbox is deleted', async () => {
  const { id } = await create({ name: 'once' });
  const second = await client.post('/api/sandbox', { snapshot, name: 'once' });
  expect(second).toMatchObject({ status: 409, body: { message: 'Sandbox with name once already exists' } });
  expect((await client.delete(`/api/sandbox/${id}`)).body.state).toBe('destroying');
  const again = await create({ name: 'once' });
  await client.delete(`/api/sandbox/${again.id}`);
});

test('two creations of one name at once make one sandbox', async () => {
  const answers = await Promise.all([1, 2, 3].map(() => client.post('/api/sandbox', { snapshot, name: 'race' })));
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409, 409]);
  await client.delete('/api/sandbox/race');
});

test('the quota of an organization holds against creations at once', async () => {
  const small = await lab.server.addOrganization();
  await lab.server.db.updateTable('organizations').set({ total_cpu_quota: 2 }).where('id', '=', small).execute();
  const own = await lab.server.addSnapshot(small, busybox);
  const other = httpClient(() => lab.server.url, await lab.server.addKey(small));
  const answers = await Promise.all([1, 2, 3, 4].map(() => other.post('/api/sandbox', { snapshot: own })));
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 200, 400, 400]);
  expect(answers.find(({ status }) => status === 400)?.body.message).toBe(
    'Total CPU limit exceeded. Maximum allowed: 2.',
  );
  const [first, second] = answers.filter(({ status }) => status === 200).map(({ body }) => body.id);
  await other.post(`/api/sandbox/${first}/stop?force=true`);
  const freed = await other.post('/api/sandbox', { snapshot: own });
  expect(freed.status).toBe(200);
  expect((await other.post(`/api/sandbox/${first}/start`)).status).toBe(400);
  for (const id of [first, second, freed.body.id]) await other.delete(`/api/sandbox/${id}`);
});

test('stop keeps the files and start brings them back', async () => {
  const { id } = await create();
  await run(id, 'echo kept > /root/file');
  expect((await client.post(`/api/sandbox/${id}/stop`)).body.state).toBe('stopped');
  const refused = await run(id, 'true');
  expect(refused).toMatchObject({
    status: 400,
    body: { statusCode: 400, message: 'Sandbox is not running: its state is stopped. Start it first.' },
  });
  expect((await client.post(`/api/sandbox/${id}/stop`)).body.state).toBe('stopped');
  expect((await client.post(`/api/sandbox/${id}/start`)).body.state).toBe('started');
  expect((await run(id, 'cat /root/file')).body).toEqual({ exitCode: 0, result: 'kept\n' });
  await client.delete(`/api/sandbox/${id}`);
});

test('changes of state at the same time: one goes on, the other is told', async () => {
  const { id } = await create();
  const answers = await Promise.all([1, 2].map(() => client.post(`/api/sandbox/${id}/stop?force=true`)));
  expect(answers.map(({ status }) => status).toSorted()[0]).toBe(200);
  const lost = answers.find(({ status }) => status !== 200);
  if (lost !== undefined)
    expect(lost).toMatchObject({ status: 409, body: { message: 'Sandbox state change in progress' } });
  expect(await stateOf(id)).toBe('stopped');
  await client.delete(`/api/sandbox/${id}`);
});

test('a deleted sandbox is gone, with everything of it', async () => {
  const { id } = await create();
  expect((await client.delete(`/api/sandbox/${id}`)).status).toBe(200);
  await expect.poll(() => stateOf(id), { timeout: 20_000 }).toBeUndefined();
  expect((await client.get(`/api/sandbox/${id}`)).status).toBe(404);
  expect((await client.delete(`/api/sandbox/${id}`)).status).toBe(404);
  expect((await lab.server.runtime.list()).map((status) => status.id)).not.toContain(id);
});

test('labels, intervals, public and activity can be set', async () => {
  const { id } = await create();
  const labels = await client.put(`/api/sandbox/${id}/labels`, { labels: { a: 'b' } });
  expect(labels).toEqual({ status: 200, body: { labels: { a: 'b' } } });
  await client.post(`/api/sandbox/${id}/autostop/30`);
  await client.post(`/api/sandbox/${id}/autoarchive/60`);
  await client.post(`/api/sandbox/${id}/autodelete/-1`);
  await client.post(`/api/sandbox/${id}/public/true`);
  expect((await client.get(`/api/sandbox/${id}`)).body).toMatchObject({
    labels: { a: 'b' },
    autoStopInterval: 30,
    autoArchiveInterval: 60,
    autoDeleteInterval: -1,
    public: true,
  });
  expect(await client.post(`/api/sandbox/${id}/last-activity`)).toEqual({ status: 201, body: undefined });
  expect((await client.post(`/api/sandbox/${id}/autostop/-1`)).status).toBe(400);
  expect((await client.post(`/api/sandbox/${id}/autostop/x`)).status).toBe(400);
  await client.delete(`/api/sandbox/${id}`);
});

test('what cannot be done yet is refused in words', async () => {
  const { id } = await create();
  for (const path of ['archive', 'backup']) {
    const { status, body } = await client.post(`/api/sandbox/${id}/${path}`, {});
    expect({ path, status, message: body.message }).toMatchObject({
      status: 400,
      message: expect.stringContaining('not supported'),
    });
  }
  expect((await client.post('/api/sandbox/unknown/archive')).status).toBe(404);
  await client.delete(`/api/sandbox/${id}`);
});

test('another organization sees nothing of it', async () => {
  const { id } = await create();
  const stranger = httpClient(() => lab.server.url, await lab.server.addKey(await lab.server.addOrganization()));
  expect((await stranger.get(`/api/sandbox/${id}`)).status).toBe(404);
  expect((await stranger.delete(`/api/sandbox/${id}`)).status).toBe(404);
  expect((await stranger.post(`/toolbox/${id}/process/execute`, { command: 'id' })).status).toBe(404);
  expect((await stranger.get(`/toolbox/${id}/files/download?path=/etc/passwd`)).status).toBe(404);
  expect((await stranger.get('/api/sandbox')).body.items).toEqual([]);
  await client.delete(`/api/sandbox/${id}`);
});

test('a key without the permission may only look', async () => {
  const { id } = await create();
  const reader = httpClient(() => lab.server.url, await lab.server.addKey(lab.organizationId, []));
  expect((await reader.get(`/api/sandbox/${id}`)).status).toBe(200);
  for (const path of [`/api/sandbox`, `/api/sandbox/${id}/stop`, `/toolbox/${id}/process/execute`]) {
    expect((await reader.post(path, {})).status).toBe(403);
  }
  expect((await reader.delete(`/api/sandbox/${id}`)).status).toBe(403);
  await client.delete(`/api/sandbox/${id}`);
});

test('an unknown user of the image is an error with a reason', async () => {
  const { status, body } = await client.post('/api/sandbox', { snapshot, user: 'nobody-here', name: 'no-user' });
  expect(status).toBe(400);
  expect(body.message).toContain('User nobody-here does not exist');
  const { body: failed } = await client.get('/api/sandbox/no-user');
  expect(failed).toMatchObject({ state: 'error', errorReason: expect.stringContaining('nobody-here') });
  await client.delete('/api/sandbox/no-user');
});

test('a sandbox that ends by itself is stopped with the reason, and starts again', async () => {
  const { id } = await create();
  const status = (await lab.server.runtime.list()).find((container) => container.id === id);
  process.kill(status?.pid ?? Number.NaN, 'SIGKILL');
  await expect.poll(() => stateOf(id), { timeout: 20_000 }).toBe('stopped');
  expect((await client.get(`/api/sandbox/${id}`)).body.errorReason).toContain('ended by itself');
  const started = (await client.post(`/api/sandbox/${id}/start`)).body;
  expect(started.state).toBe('started');
  expect(started.errorReason).toBeUndefined();
  await client.delete(`/api/sandbox/${id}`);
});

test('auto-delete 0 takes the sandbox away when it stops', async () => {
  const { id } = await create({ autoDeleteInterval: 0 });
  await client.post(`/api/sandbox/${id}/stop?force=true`);
  await expect.poll(() => stateOf(id), { timeout: 20_000 }).toBeUndefined();
});

test('an idle sandbox is stopped after its minutes, and deleted after more', async () => {
  const { id } = await create({ autoDeleteInterval: 1 });
  const past = new Date(Date.now() - 16 * 60_000);
  await lab.server.db.updateTable('sandboxes').set({ last_activity_at: past }).where('id', '=', id).execute();
  await lab.server.restart();
  await expect.poll(() => stateOf(id), { timeout: 20_000 }).toBe('stopped');
  await lab.server.db
    .updateTable('sandboxes')
    .set({ stopped_at: new Date(Date.now() - 120_000) })
    .where('id', '=', id)
    .execute();
  await lab.server.restart();
  await expect.poll(() => stateOf(id), { timeout: 20_000 }).toBeUndefined();
});

test('an entry point runs beside the sandbox, its end ends nothing, and it runs again after a restart', async () => {
  const entrypoint = ['/bin/sh', '-c', 'echo started >> /root/runs; echo to the log; exit 3'];
  const withEntrypoint = await lab.server.addSnapshot(lab.organizationId, busybox, { entrypoint });
  const { id } = await create({ snapshot: withEntrypoint });
  const runs = async () => (await run(id, 'cat /root/runs')).body.result;
  await expect.poll(runs, { timeout: 20_000 }).toBe('started\n');
  expect(await stateOf(id)).toBe('started');
  await client.post(`/api/sandbox/${id}/stop?force=true`);
  await client.post(`/api/sandbox/${id}/start`);
  await expect.poll(runs, { timeout: 20_000 }).toBe('started\nstarted\n');
  await client.delete(`/api/sandbox/${id}`);
});

test('an entry point and its log survive restarts of the server', async () => {
  // Held open in both directions: the end of one writer must not look like the end of all.
  const entrypoint = [
    '/bin/sh',
    '-c',
    'mkfifo /tmp/next; exec 3<>/tmp/next; n=0; while read line <&3; do n=$((n+1)); echo "$line $n"; done',
  ];
  const withEntrypoint = await lab.server.addSnapshot(lab.organizationId, busybox, { entrypoint });
  const { id } = await create({ snapshot: withEntrypoint });
  const log = () => readFile(join(lab.server.spoolDirectory, 'entrypoints', `${id}.log`), 'utf8').catch(() => '');
  await expect.poll(async () => (await run(id, 'test -p /tmp/next')).body.exitCode, { timeout: 20_000 }).toBe(0);
  await run(id, 'echo before > /tmp/next');
  await expect.poll(log, { timeout: 20_000 }).toBe('before 1\n');
  await lab.server.restart();
  await run(id, 'echo after > /tmp/next');
  await expect.poll(log, { timeout: 20_000 }).toBe('before 1\nafter 2\n');
  await client.delete(`/api/sandbox/${id}`);
});

test('a restart of the server finds running sandboxes again, and makes the rest true', async () => {
  const running = await create();
  await run(running.id, 'echo before > /root/file');
  const died = await create();
  const half = await create();
  const stray = await create();
  const stopping = await create();
  const { db } = lab.server;
  await lab.server.runtime.stop(died.id, { graceMs: 0 });
  // As a server leaves it that is killed during a start: the row says starting, and a container may run.
  await db.updateTable('sandboxes').set({ state: 'creating' }).where('id', '=', half.id).execute();
  await db.updateTable('sandboxes').set({ state: 'stopping' }).where('id', '=', stopping.id).execute();
  await db.deleteFrom('sandboxes').where('id', '=', stray.id).execute();
  await lab.server.restart();
  expect(await stateOf(stopping.id)).toBe('stopped');
  expect(await stateOf(running.id)).toBe('started');
  expect((await run(running.id, 'cat /root/file')).body.result).toBe('before\n');
  expect((await client.get(`/api/sandbox/${died.id}`)).body).toMatchObject({
    state: 'stopped',
    errorReason: expect.stringContaining('while the server was away'),
  });
  expect((await client.get(`/api/sandbox/${half.id}`)).body).toMatchObject({ state: 'error', recoverable: true });
  const kept = new Map((await lab.server.runtime.list()).map((status) => [status.id, status.running]));
  expect(kept.get(half.id)).toBe(false);
  expect(kept.has(stray.id)).toBe(false);
  expect((await client.post(`/api/sandbox/${half.id}/recover`)).body.state).toBe('started');
  for (const { id } of [running, died, half, stopping]) await client.delete(`/api/sandbox/${id}`);
});

test('the client may go away during a create: the sandbox is there afterwards', async () => {
  const controller = new AbortController();
  const request = fetch(`${lab.server.url}/api/sandbox`, {
    method: 'POST',
    signal: controller.signal,
    headers: {
      authorization: `Bearer ${lab.apiKey}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify({ snapshot, name: 'left-alone' }),
  });
  await expect.poll(() => stateOf('left-alone'), { interval: 2, timeout: 20_000 }).toBeDefined();
  controller.abort();
  await request.catch(() => {});
  await expect.poll(() => stateOf('left-alone'), { timeout: 20_000 }).toBe('started');
  await client.delete('/api/sandbox/left-alone');
});
