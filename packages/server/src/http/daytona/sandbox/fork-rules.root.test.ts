import { afterEach, expect, test } from 'vitest';
import { armFailpoints } from '../../../platform/failpoints.ts';
import { type HttpClient, httpClient } from '../../../test-support/http-client.ts';
import { busybox } from '../../../test-support/layers.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

/** What forks may not leave behind, and what is known of families afterwards. */
const lab = setUpServer({ layer: busybox });
const { client, snapshot } = lab;
afterEach(async () => {
  armFailpoints('');
  const { body } = await client.get('/api/sandbox?limit=100');
  for (const { id } of body.items) await client.delete(`/api/sandbox/${id}`);
  await expect.poll(() => lab.server.runtime.list(), { timeout: 20_000 }).toEqual([]);
});

async function create(values: object = {}) {
  const { status, body } = await client.post('/api/sandbox', { snapshot, ...values });
  expect([status, body.state], JSON.stringify(body)).toEqual([200, 'started']);
  return body;
}

async function fork(id: string, values?: object) {
  const { status, body } = await client.post(`/api/sandbox/${id}/fork`, values);
  expect([status, body.state], JSON.stringify(body)).toEqual([200, 'started']);
  return body;
}

const forkMany = (id: string, children: object[]) => client.post(`/api/sandbox/${id}/forks`, { children });
const run = async (id: string, command: string) =>
  (await client.post(`/toolbox/${id}/process/execute`, { command })).body.result;
const idsOf = ({ body }: { body: { id: string }[] }) => body.map(({ id }) => id);
const onMachine = async () => (await lab.server.runtime.list()).map(({ id }) => id);

async function makeStranger(): Promise<HttpClient> {
  const key = await lab.server.addKey(await lab.server.addOrganization());
  return httpClient(() => lab.server.url, key);
}

test('when one of several does not start, none stays, and their names are free', async () => {
  const parent = await create();
  armFailpoints('fork.identity-given=error@2');
  const { status, body } = await forkMany(parent.id, [{ name: 'a' }, { name: 'b' }, { name: 'c' }]);
  expect([status, body.message]).toEqual([503, expect.stringContaining('failed to start: failpoint')]);
  expect((await client.get(`/api/sandbox/${parent.id}/forks`)).body).toEqual([]);
  await expect.poll(onMachine, { timeout: 20_000 }).toEqual([parent.id]);
  armFailpoints('');
  expect((await forkMany(parent.id, [{ name: 'a' }, { name: 'b' }])).status).toBe(200);
  armFailpoints('fork.identity-given=error');
  expect((await client.post(`/api/sandbox/${parent.id}/fork`, { name: 'alone' })).status).toBe(503);
  expect((await client.get('/api/sandbox/alone')).status).toBe(404);
});

test('a sandbox that is deleted while it is forked has no forks', async () => {
  const parent = await create();
  armFailpoints('fork.placed=pause:700');
  const forking = forkMany(parent.id, [{}, {}]);
  await expect.poll(async () => (await onMachine()).length).toBe(3);
  expect((await client.delete(`/api/sandbox/${parent.id}`)).status).toBe(200);
  expect(await forking).toMatchObject({ status: 404, body: { message: expect.stringContaining(parent.id) } });
  await expect.poll(onMachine, { timeout: 20_000 }).toEqual([]);
});

test('a fork whose server ended in the middle says why, and is a machine of its own when it is started', async () => {
  const parent = await create();
  await run(parent.id, 'sh -c "echo 0123 > /etc/machine-id; echo kept > /root/file"');
  armFailpoints('fork.rows-written=error');
  expect((await client.post(`/api/sandbox/${parent.id}/fork`, { name: 'left' })).status).toBe(500);
  armFailpoints('');
  await lab.server.restart();
  expect((await client.get('/api/sandbox/left')).body).toMatchObject({
    state: 'error',
    errorReason: expect.stringContaining('The server ended'),
  });
  expect((await client.post('/api/sandbox/left/start')).body.state).toBe('started');
  expect(await run('left', 'cat /etc/machine-id /root/file')).toMatch(/^[0-9a-f]{32}\nkept\n$/);
});

test('stopped and paused ones are forked as they are, and one in error is not', async () => {
  const parent = await create();
  await run(parent.id, 'sh -c "echo kept > /root/file"');
  expect((await client.post(`/api/sandbox/${parent.id}/pause`)).body.state).toBe('paused');
  expect(await run((await fork(parent.id)).id, 'cat /root/file')).toBe('kept\n');
  expect((await client.get(`/api/sandbox/${parent.id}`)).body.state).toBe('paused');
  await client.post(`/api/sandbox/${parent.id}/start`);
  await client.post(`/api/sandbox/${parent.id}/stop?force=true`);
  expect(await run((await fork(parent.id)).id, 'cat /root/file')).toBe('kept\n');
  expect((await client.get(`/api/sandbox/${parent.id}`)).body.state).toBe('stopped');
  const broken = { state: 'error', error_reason: 'for the test' } as const;
  await lab.server.db.updateTable('sandboxes').set(broken).where('id', '=', parent.id).execute();
  expect(await client.post(`/api/sandbox/${parent.id}/fork`)).toMatchObject({
    status: 400,
    body: { statusCode: 400, message: expect.stringContaining('cannot be forked: its state is error') },
  });
});

test('a line of ancestors goes over those that are deleted, for as long as there is somebody to ask about', async () => {
  const first = await create();
  const second = await fork(first.id);
  const third = await fork(second.id);
  await client.delete(`/api/sandbox/${second.id}`);
  const lonely = await create();
  await client.delete(`/api/sandbox/${lonely.id}`);
  const gone = [second.id, lonely.id];
  const rows = () => lab.server.db.selectFrom('sandboxes').select(['id', 'state']).where('id', 'in', gone).execute();
  await expect.poll(async () => (await rows()).map(({ state }) => state)).toEqual(['destroyed', 'destroyed']);
  const longAgo = new Date(Date.now() - 48 * 3_600_000);
  await lab.server.db.updateTable('sandboxes').set({ state_entered_at: longAgo }).where('id', 'in', gone).execute();
  // Something is due, so what is old is looked for.
  const idle = await create();
  await client.post(`/api/sandbox/${idle.id}/stop?force=true`);
  await client.post(`/api/sandbox/${idle.id}/autodelete/0`);
  await expect.poll(rows, { timeout: 20_000 }).toEqual([{ id: second.id, state: 'destroyed' }]);
  expect(idsOf(await client.get(`/api/sandbox/${third.id}/ancestors`))).toEqual([first.id]);
  expect(idsOf(await client.get(`/api/sandbox/${first.id}/forks`))).toEqual([]);
  const all = await client.get(`/api/sandbox/${first.id}/forks?includeDestroyed=true`);
  expect(all.body).toMatchObject([{ id: second.id, state: 'destroyed' }]);
  const stranger = await makeStranger();
  for (const what of ['forks', 'parent', 'ancestors']) {
    expect((await stranger.get(`/api/sandbox/${third.id}/${what}`)).status).toBe(404);
  }
  for (const what of ['fork', 'forks']) {
    expect((await stranger.post(`/api/sandbox/${third.id}/${what}`, { children: [{}] })).status).toBe(404);
  }
});

test('what cannot be meant is refused in the words of the API', async () => {
  const parent = await create({ env: { LARGE: 'x'.repeat(100_000) } });
  const large = Object.fromEntries(Array.from({ length: 5 }, (_, index) => [`V${index}`, 'x'.repeat(100_000)]));
  const wrong: object[] = [
    {},
    { children: {} },
    { children: [null] },
    { children: [{ name: 7 }] },
    { children: [{ name: '' }] },
    { children: [{ name: 'x'.repeat(256) }] },
    { children: [{ name: 'a\0b' }] },
    { children: [{ env: { A: 1 } }] },
    { children: [{ env: large }] },
    { children: Array.from({ length: 101 }, () => ({})) },
  ];
  for (const body of wrong) {
    const answer = await client.post(`/api/sandbox/${parent.id}/forks`, body);
    expect(answer, JSON.stringify(body).slice(0, 80)).toMatchObject({
      status: 400,
      body: { statusCode: 400, message: expect.anything(), error: expect.anything() },
    });
  }
  for (const name of [7, '', 'a\0b', {}]) {
    expect((await client.post(`/api/sandbox/${parent.id}/fork`, { name })).status).toBe(400);
  }
  expect((await client.get(`/api/sandbox/${parent.id}/forks?includeDestroyed=perhaps`)).status).toBe(400);
  expect(await onMachine()).toEqual([parent.id]);
});

test('the audit log has the parent and its children', async () => {
  const parent = await create({ name: 'parent' });
  const { body } = await forkMany('parent', [{ name: 'one', env: { SECRET: 'never-kept' } }, { name: 'two' }]);
  const read = async () => (await client.get(`/api/audit/organizations/${lab.organizationId}?limit=3`)).body.items;
  await expect.poll(async () => (await read())[0]).toMatchObject({ action: 'fork', targetId: parent.id });
  const [row] = await read();
  expect(row).toMatchObject({ action: 'fork', targetType: 'sandbox', targetId: parent.id, statusCode: 200 });
  expect(row.metadata.children).toEqual(idsOf({ body }));
  expect(JSON.stringify(row)).not.toContain('never-kept');
});
