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
const idsOf = ({ body }: { body: { id: string }[] }) => body.map(({ id }) => id);

test('a fork has the files, and from then on its own, and knows where it comes from', async () => {
  const parent = await create({ env: { A: '1' }, labels: { team: 'a' } });
  await run(parent.id, 'sh -c "echo shared > /root/file"');
  const { status, body: child } = await client.post(`/api/sandbox/${parent.id}/fork`, { name: 'child' });
  expect([status, child.state, child.name], JSON.stringify(child)).toEqual([200, 'started', 'child']);
  expect(child).toMatchObject({ snapshot, env: { A: '1' }, labels: { team: 'a' } });
  await run(child.id, 'sh -c "echo own >> /root/file"');
  expect(await run(child.id, 'sh -c "cat /root/file; hostname"')).toBe(`shared\nown\n${child.id}\n`);
  expect(await run(parent.id, 'cat /root/file')).toBe('shared\n');
  // The files of a fork are its own over a restart, too.
  await client.post(`/api/sandbox/${child.id}/stop?force=true`);
  const { body: grandchild } = await client.post(`/api/sandbox/${child.id}/fork`);
  expect(grandchild.name).toBe(grandchild.id);
  expect(await run(grandchild.id, 'cat /root/file')).toBe('shared\nown\n');

  expect(idsOf(await client.get(`/api/sandbox/${parent.id}/forks`))).toEqual([child.id]);
  expect((await client.get(`/api/sandbox/${child.id}/parent`)).body.id).toBe(parent.id);
  expect((await client.get(`/api/sandbox/${parent.id}/parent`)).status).toBe(404);
  expect(idsOf(await client.get(`/api/sandbox/${grandchild.id}/ancestors`))).toEqual([child.id, parent.id]);
  await client.delete(`/api/sandbox/${child.id}`);
  expect(idsOf(await client.get(`/api/sandbox/${grandchild.id}/ancestors`))).toEqual([parent.id]);
  expect((await client.get(`/api/sandbox/${grandchild.id}/parent`)).status).toBe(404);
  for (const { id } of [parent, grandchild]) await client.delete(`/api/sandbox/${id}`);
});

test('several at once have the files of one moment, names and environments of their own, and are other machines', async () => {
  const parent = await create({ env: { A: '1', B: '1' } });
  await run(
    parent.id,
    'sh -c "mkdir -p /etc/ssh /var/lib/systemd; echo 0123 > /etc/machine-id; echo k > /etc/ssh/ssh_host_rsa_key"',
  );
  await run(parent.id, 'sh -c "echo s > /var/lib/systemd/random-seed; echo c > /etc/ssh/sshd_config"');
  const children = [{ name: 'one', env: { B: '2' } }, { name: 'two' }, {}];
  const { status, body } = await client.post(`/api/sandbox/${parent.id}/forks`, { children });
  expect(status, JSON.stringify(body)).toBe(200);
  expect(body.map(({ state }: { state: string }) => state)).toEqual(['started', 'started', 'started']);
  expect(body[0]).toMatchObject({ name: 'one', env: { A: '1', B: '2' } });
  expect(body[1]).toMatchObject({ name: 'two', env: { A: '1', B: '1' } });
  const ids: string[] = [];
  for (const { id } of body) {
    ids.push(await run(id, 'cat /etc/machine-id'));
    expect(await run(id, 'sh -c "ls /etc/ssh /var/lib/systemd"')).toBe('/etc/ssh:\nsshd_config\n\n/var/lib/systemd:\n');
  }
  expect(new Set([...ids, '0123\n']).size).toBe(4);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}\n$/);
  expect(await run(parent.id, 'cat /etc/machine-id /etc/ssh/ssh_host_rsa_key')).toBe('0123\nk\n');
  for (const { id } of [parent, ...body]) await client.delete(`/api/sandbox/${id}`);
});

test('what is refused leaves nothing', async () => {
  const parent = await create({ name: 'taken' });
  const fork = (children: object[]) => client.post(`/api/sandbox/${parent.id}/forks`, { children });
  expect((await fork([{ name: 'fine' }, { name: 'taken' }])).status).toBe(409);
  expect((await fork([{ name: 'same' }, { name: 'same' }])).status).toBe(400);
  expect((await fork([])).status).toBe(400);
  expect((await fork([{ env: { 'A=B': 'x' } }])).status).toBe(400);
  await lab.server.db
    .updateTable('organizations')
    .set({ total_cpu_quota: 2 })
    .where('id', '=', lab.organizationId)
    .execute();
  expect(await fork([{}, {}])).toMatchObject({
    body: { message: expect.stringContaining('Total CPU limit exceeded') },
  });
  await lab.server.db
    .updateTable('organizations')
    .set({ total_cpu_quota: 10 })
    .where('id', '=', lab.organizationId)
    .execute();
  expect((await client.post('/api/sandbox/00000000-0000-4000-8000-000000000000/fork')).status).toBe(404);
  expect((await client.get(`/api/sandbox/${parent.id}/forks`)).body).toEqual([]);
  await expect.poll(async () => (await lab.server.runtime.list()).map(({ id }) => id)).toEqual([parent.id]);
  await client.delete(`/api/sandbox/${parent.id}`);
});
