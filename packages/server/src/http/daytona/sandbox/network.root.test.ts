import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { busybox } from '../../../test-support/layers.ts';
import { officialClients } from '../../../test-support/official-clients.ts';
import { type OutsideWorld, openOutsideWorld } from '../../../test-support/outside-world.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

let world: OutsideWorld;
beforeAll(async () => {
  world = await openOutsideWorld();
}, 120_000);
afterAll(() => world?.close());
const lab = setUpServer(() => ({ dns: [world.nameServer], layer: busybox }));
const { client } = lab;
const { clients } = officialClients(lab);
beforeEach(() =>
  world.names.serve([
    ['one.example.test', 'A', world.hosts[0], 60],
    ['two.example.test', 'A', world.hosts[1], 60],
  ]),
);

/** Which of these hosts or names answer a sandbox. */
async function reached(id: string, targets: readonly string[] = world.hosts): Promise<string[]> {
  const tries = targets.map(
    (target) => `nc -w 2 ${target} ${world.port} </dev/null 2>/dev/null | grep -q remote && echo ${target}`,
  );
  const answer = await client.post(`/toolbox/${id}/process/execute`, { command: `${tries.join('; ')}; true` });
  expect(answer.status).toBe(200);
  return answer.body.result.split('\n').filter(Boolean);
}

describe.each(clients)('%s', (_name, connect) => {
  test('creates sandboxes that reach what is on their lists alone', async () => {
    const [one, two] = world.hosts;
    const daytona = connect();
    const ranges = await daytona.create({ networkAllowList: `${one}/32` });
    expect(ranges).toMatchObject({ networkBlockAll: false, networkAllowList: `${one}/32` });
    expect(await reached(ranges.id)).toEqual([one]);
    const names = await daytona.create({ domainAllowList: 'two.example.test,*.wild.test' });
    expect(names).toMatchObject({ domainAllowList: 'two.example.test,*.wild.test' });
    expect(await reached(names.id)).toEqual([]);
    expect(await reached(names.id, ['one.example.test', 'two.example.test'])).toEqual(['two.example.test']);
    expect(await reached(names.id)).toEqual([two]);
    const none = await daytona.create({ networkBlockAll: true });
    expect(await reached(none.id)).toEqual([]);
    await Promise.all([ranges, names, none].map((sandbox) => sandbox.delete()));
    await expect(daytona.create({ networkAllowList: '1.2.3.4' })).rejects.toMatchObject({
      statusCode: 400,
      message: expect.stringContaining('"1.2.3.4" is not an IPv4 range'),
    });
  });

  test('changes the network of a running sandbox', async () => {
    const [one, two] = world.hosts;
    const sandbox = await connect().create({});
    expect(await reached(sandbox.id)).toEqual([one, two]);
    await sandbox.updateNetworkSettings({ networkBlockAll: true });
    expect(sandbox.networkBlockAll).toBe(true);
    expect(await reached(sandbox.id)).toEqual([]);
    await sandbox.updateNetworkSettings({ networkAllowList: `${two}/32` });
    expect(sandbox).toMatchObject({ networkBlockAll: false, networkAllowList: `${two}/32` });
    expect(await reached(sandbox.id)).toEqual([two]);
    await sandbox.updateNetworkSettings({ networkAllowList: '' });
    expect(await reached(sandbox.id)).toEqual([one, two]);
    await sandbox.updateNetworkSettings({ domainAllowList: 'one.example.test' });
    expect(await reached(sandbox.id, ['one.example.test', 'two.example.test'])).toEqual(['one.example.test']);
    await sandbox.updateNetworkSettings({ networkBlockAll: false });
    expect(sandbox.domainAllowList).toBeUndefined();
    expect(await reached(sandbox.id, ['one.example.test', two])).toEqual(['one.example.test', two]);
    await sandbox.delete();
  });
});

const settings = (id: string, body: object) => client.post(`/api/sandbox/${id}/network-settings`, body);

test('the network stays what it was made over a stop and over a restart of the server', async () => {
  const [one, two] = world.hosts;
  const { id } = (await client.post('/api/sandbox', { domainAllowList: 'one.example.test' })).body;
  expect(await reached(id, ['one.example.test'])).toEqual(['one.example.test']);
  await settings(id, { networkAllowList: `${two}/32`, bandwidthMbps: { in: 50, out: 20 } });
  await lab.server.restart();
  expect(await reached(id)).toEqual([one, two]);
  expect(await reached(id, ['one.example.test', 'two.example.test'])).toEqual(['one.example.test']);
  expect((await client.post(`/api/sandbox/${id}/stop`)).status).toBe(200);
  await settings(id, { domainAllowList: null });
  expect((await client.post(`/api/sandbox/${id}/start`)).body).toMatchObject({
    networkAllowList: `${two}/32`,
    bandwidthMbps: { in: 50, out: 20 },
  });
  expect(await reached(id)).toEqual([two]);
  await client.delete(`/api/sandbox/${id}`);
});

test('a paused sandbox has a new network when it goes on', async () => {
  const [one, two] = world.hosts;
  const { id } = (await client.post('/api/sandbox', {})).body;
  expect(await reached(id)).toEqual([one, two]);
  expect((await client.post(`/api/sandbox/${id}/pause`)).status).toBe(200);
  expect((await settings(id, { networkAllowList: `${two}/32` })).status).toBe(200);
  expect((await client.post(`/api/sandbox/${id}/start`)).status).toBe(200);
  expect(await reached(id)).toEqual([two]);
  await client.delete(`/api/sandbox/${id}`);
});

test('of many changes at the same time, the one that is written is the one that holds', async () => {
  const { id } = (await client.post('/api/sandbox', {})).body;
  const lists = Array.from({ length: 12 }, (_, turn) => `${world.hosts[turn % 2]}/32`);
  const answers = await Promise.all(lists.map((networkAllowList) => settings(id, { networkAllowList })));
  expect(answers.map(({ status }) => status)).toEqual(lists.map(() => 200));
  const { networkAllowList } = (await client.get(`/api/sandbox/${id}`)).body;
  expect(await reached(id)).toEqual([networkAllowList.replace('/32', '')]);
  await client.delete(`/api/sandbox/${id}`);
});

test.each([
  [{ networkAllowList: '203.0.113.0/24,10.0.0.0/33' }, '"10.0.0.0/33" is not an IPv4 range'],
  [{ networkAllowList: '2001:db8::/32' }, '"2001:db8::/32" is not an IPv4 range'],
  [{ networkAllowList: Array(11).fill('10.0.0.0/8').join(',') }, 'has 11 entries; at most 10'],
  [{ domainAllowList: 'example.com,,x.org' }, 'entry 2 is empty'],
  [{ domainAllowList: 'a*.example.com' }, '"a*.example.com" is not a domain'],
  [{ domainAllowList: '*' }, '"*" is not a domain'],
  [{ domainAllowList: '192.0.2.1' }, '"192.0.2.1" is not a domain'],
  [{ bandwidthMbps: { out: 1e9 } }, 'bandwidthMbps.out must be'],
])('%j is refused and changes nothing', async (body, message) => {
  const { id } = (await client.post('/api/sandbox', {})).body;
  expect(await settings(id, body)).toMatchObject({ status: 400, body: { message: expect.stringContaining(message) } });
  const sandbox = (await client.get(`/api/sandbox/${id}`)).body;
  expect(sandbox).toMatchObject({ networkBlockAll: false });
  expect(sandbox.networkAllowList).toBeUndefined();
  await client.delete(`/api/sandbox/${id}`);
});
