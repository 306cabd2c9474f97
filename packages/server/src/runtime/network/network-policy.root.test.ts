import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  ask,
  inNet,
  type Lab,
  openLab,
  PORT,
  type PoolSettings,
  type TakenNamespaces,
  type TestServer,
  WORLD,
} from './testing/lab.ts';
import { type NameServer, type Record, startEcho, startNameServer, startTalk } from './testing/lab-traffic.ts';

const A = 'aaaaaaaa';
const DNS = '192.0.2.53';
const [FIRST, SECOND, THIRD] = ['203.0.113.10', '203.0.113.11', '203.0.113.12'];
const HOST_LAN = '198.51.100.1';
const OPEN = { blockAll: false };
const settings: PoolSettings = { cidr: '10.213.0.0/24', ready: 2, allowPrivate: [], dns: [DNS] };
const ZONE: Record[] = [
  ['api.example.test', 'A', FIRST, 5],
  ['www.example.test', 'CNAME', 'edge.cdn.test', 300],
  ['edge.cdn.test', 'A', SECOND, 5],
  ['deep.below.wild.test', 'A', THIRD, 5],
  ['other.test', 'A', THIRD, 5],
  ['slipped.in', 'A', THIRD, 5],
  ['long.example.test', 'A', SECOND, 5],
  ...[HOST_LAN, '10.213.0.1', WORLD.privateHost, WORLD.metadata, '127.0.0.1', '100.64.0.1', '224.0.0.1'].map(
    (address): Record => ['rebound.example.test', 'A', address, 5],
  ),
];

let lab: Lab;
let server: TestServer;
let names: NameServer;
let sandbox: TakenNamespaces;
let other: TakenNamespaces;
const net = () => server.net(sandbox);
const reach = (address: string) => ask(net(), 'tcp', address, PORT).then(({ ok }) => ok);
const lookUp = (name: string, over = 'udp', type = 'A', at: string = DNS) => ask(net(), 'lookup', at, name, type, over);

beforeAll(async () => {
  lab = await openLab();
  for (const address of [SECOND, THIRD])
    await inNet(lab.world, 'ip', ['addr', 'add', `${address}/32`, 'dev', 'uplink']);
  names = await startNameServer(lab, await lab.addNeighbour(DNS), DNS);
  await names.serve(ZONE);
  await startEcho(lab, lab.world);
  server = await lab.startServer();
  await server.open(A, settings);
}, 30_000);
afterAll(() => lab?.close());

beforeEach(async () => {
  names.asked.length = 0;
  await names.serve(ZONE);
  const taken = await server.take(A, 2);
  const [one, two] = taken;
  if (!one || !two) throw new Error('expected two');
  [sandbox, other] = [one, two];
  return () => server.release(A, taken);
});

describe('a sandbox with a list of ranges', () => {
  test('reaches these and nothing else, no name server either', async () => {
    await server.setPolicy(A, sandbox, { ...OPEN, allowRanges: [`${FIRST}/32`, '203.0.113.10/31', '10.0.0.0/8'] });
    expect(await reach(FIRST)).toBe(true);
    expect(await reach(SECOND)).toBe(true);
    expect(await reach(THIRD)).toBe(false);
    expect(await reach(WORLD.privateHost)).toBe(false);
    expect(await lookUp('api.example.test')).toMatchObject({ ok: false });
    expect(await ask(server.net(other), 'tcp', THIRD, PORT)).toMatchObject({ ok: true });
  });

  test('may have everything on it, and that is still not the host', async () => {
    await server.setPolicy(A, sandbox, { ...OPEN, allowRanges: ['0.0.0.0/0'] });
    expect(await reach(THIRD)).toBe(true);
    expect(await reach(HOST_LAN)).toBe(false);
    expect(await reach(WORLD.metadata)).toBe(false);
    expect((await lookUp('other.test')).addresses).toContain(THIRD);
  });

  test('loses connections that a change no longer allows, and keeps the others', async () => {
    const [kept, lost] = [await startTalk(lab, net(), FIRST), await startTalk(lab, net(), SECOND)];
    expect([await kept.say('one'), await lost.say('one')]).toEqual(['one', 'one']);
    await server.setPolicy(A, sandbox, { ...OPEN, allowRanges: [`${FIRST}/32`] });
    expect([await kept.say('two'), await lost.say('two')]).toEqual(['two', 'ECONNRESET']);
    await server.setPolicy(A, sandbox, { blockAll: true });
    expect(await kept.say('three')).toBe('ECONNRESET');
    await server.setPolicy(A, sandbox, OPEN);
    expect(await reach(THIRD)).toBe(true);
  });
});

describe('a sandbox with a list of names', () => {
  const allowDomains = [
    'api.example.test',
    'www.example.test',
    'rebound.example.test',
    'long.example.test',
    '*.wild.test',
  ];
  beforeEach(() => server.setPolicy(A, sandbox, { ...OPEN, allowDomains }));

  test('reaches what a name leads to, once it has looked it up, whatever name server it asks', async () => {
    expect(await reach(FIRST)).toBe(false);
    expect(await lookUp('api.example.test')).toMatchObject({ rcode: 'NOERROR', addresses: [FIRST] });
    expect(await reach(FIRST)).toBe(true);
    expect(await lookUp('API.Example.Test', 'tcp', 'A', '9.9.9.9')).toMatchObject({ addresses: [FIRST] });
    expect(await lookUp('deep.below.wild.test', 'udp', 'A', sandbox.gateway)).toMatchObject({ addresses: [THIRD] });
    expect(await reach(THIRD)).toBe(true);
    expect(await ask(server.net(other), 'tcp', SECOND, PORT)).toMatchObject({ ok: true });
  });

  test('reaches what an alias leads to, and nothing that was slipped into the answer', async () => {
    expect((await lookUp('www.example.test')).addresses).toEqual([SECOND]);
    expect(await reach(SECOND)).toBe(true);
    expect(await reach(THIRD)).toBe(false);
    expect((await lookUp('long.example.test')).addresses).toEqual([SECOND]);
    expect(names.asked).toContain('tcp A long.example.test');
  });

  test('finds no other name, and nobody is asked for it', async () => {
    for (const name of ['other.test', 'wild.test', 'example.test', 'sub.api.example.test', 'edge.cdn.test']) {
      expect(await lookUp(name), name).toMatchObject({ rcode: 'NXDOMAIN', addresses: [] });
      expect(
        names.asked.some((line) => line.endsWith(` ${name}`)),
        name,
      ).toBe(false);
    }
    expect(await lookUp('api.example.test', 'udp', 'AAAA')).toMatchObject({ rcode: 'NOERROR', addresses: [] });
    expect(await reach(FIRST)).toBe(false);
  });

  test('follows a name to a new address', async () => {
    await lookUp('api.example.test');
    await names.serve([['api.example.test', 'A', SECOND, 5]]);
    expect(await reach(SECOND)).toBe(false);
    expect((await lookUp('api.example.test')).addresses).toEqual([SECOND]);
    expect(await reach(SECOND)).toBe(true);
  });

  test('is led nowhere that sandboxes may not reach', async () => {
    expect(await lookUp('rebound.example.test')).toMatchObject({ rcode: 'NOERROR', addresses: [] });
    expect(await inNet(lab.host, 'nft', ['list', 'set', 'inet', `darkroom_${A}`, 'allowed_names'])).not.toContain(
      sandbox.address,
    );
    for (const address of [HOST_LAN, WORLD.privateHost, WORLD.metadata]) expect(await reach(address)).toBe(false);
  });

  test('is told at once when no answer can be had', async () => {
    await server.setPolicy(A, sandbox, { ...OPEN, allowDomains: ['silent.example.test'] });
    expect(await lookUp('silent.example.test')).toMatchObject({ rcode: 'SERVFAIL' });
  });

  test('cannot keep the server busy with its questions', async () => {
    const before = names.asked.length;
    await Promise.all([1, 2, 3].map(() => ask(net(), 'ask', DNS, 'api.example.test', 1_000)));
    expect(names.asked.length - before).toBeLessThan(1_000);
    expect(names.asked.length).toBeGreaterThan(before);
  });

  test('has its name server for itself', async () => {
    const listing = await inNet(lab.host, 'ss', ['-Hlun', 'src', sandbox.gateway]);
    const port = /:(\d+)\s/.exec(listing)?.[1] ?? '';
    expect(port).toMatch(/^\d+$/);
    for (const asker of [server.net(other), lab.world]) {
      expect(await ask(asker, 'udp', sandbox.gateway, port, 'query')).toMatchObject({ ok: false });
      expect(await ask(asker, 'tcp', sandbox.gateway, port)).toMatchObject({ ok: false });
    }
    expect(await ask(net(), 'tcp', sandbox.gateway, PORT)).toMatchObject({ ok: false });
  });

  test('loses what a name led to when the name leaves the list, and keeps the rest', async () => {
    await lookUp('api.example.test');
    await lookUp('www.example.test');
    const [kept, lost] = [await startTalk(lab, net(), FIRST), await startTalk(lab, net(), SECOND)];
    await server.setPolicy(A, sandbox, { ...OPEN, allowDomains: ['api.example.test'] });
    expect([await kept.say('on'), await lost.say('on')]).toEqual(['on', 'ECONNRESET']);
    expect(await reach(SECOND)).toBe(false);
    await server.setPolicy(A, sandbox, { ...OPEN, allowRanges: [`${SECOND}/32`] });
    expect(await kept.say('on')).toBe('ECONNRESET');
    expect([await reach(FIRST), await reach(SECOND)]).toEqual([false, true]);
  });

  test('leaves nothing of it to whoever gets its address next', async () => {
    await lookUp('api.example.test');
    await server.release(A, [sandbox]);
    for (const set of ['limited', 'named', 'allowed_names', 'resolver_sockets']) {
      const elements = await inNet(lab.host, 'nft', ['list', 'set', 'inet', `darkroom_${A}`, set]);
      expect(elements, set).not.toContain(sandbox.address);
    }
    expect(await inNet(lab.host, 'ss', ['-Hlun', 'src', sandbox.gateway])).toBe('');
  });

  test('goes on with what it has while no server runs, and with new names under the next one', async () => {
    await lookUp('api.example.test');
    const held = lab.start(net(), ['sh', '-c', 'echo ready; read -r _']);
    await new Promise((resolve) => held.stdout?.once('data', resolve));
    const inside = `/proc/${held.pid}/ns/net`;
    const talk = await startTalk(lab, inside, FIRST);
    await server.kill();
    expect(await talk.say('alone')).toBe('alone');
    expect(await ask(inside, 'tcp', FIRST, PORT)).toMatchObject({ ok: true });
    expect(await ask(inside, 'lookup', DNS, 'www.example.test', 'A', 'udp')).toMatchObject({ ok: false });
    expect(await ask(inside, 'tcp', SECOND, PORT)).toMatchObject({ ok: false });

    server = await lab.startServer();
    const policy = { ...OPEN, allowDomains };
    await server.open(A, settings, [{ ...sandbox, policy }]);
    await server.setPolicy(A, sandbox, policy);
    expect(await talk.say('again')).toBe('again');
    expect(await ask(inside, 'tcp', FIRST, PORT)).toMatchObject({ ok: true });
    expect((await ask(inside, 'lookup', DNS, 'www.example.test', 'A', 'udp')).addresses).toEqual([SECOND]);
    expect(await ask(inside, 'tcp', SECOND, PORT)).toMatchObject({ ok: true });

    await server.setPolicy(A, sandbox, { ...policy, bandwidth: { inMbps: 50 } });
    expect(await talk.say('and again')).toBe('and again');

    await inNet(lab.host, 'nft', ['flush', 'ruleset']);
    await server.setPolicy(A, sandbox, { ...policy, bandwidth: { inMbps: 100 } });
    expect(await ask(inside, 'tcp', SECOND, PORT)).toMatchObject({ ok: true });
    expect(await ask(inside, 'tcp', THIRD, PORT)).toMatchObject({ ok: false });
    held.kill('SIGKILL');
  });
});

describe('a limit of bandwidth', () => {
  const SENT = 1_500 * 1_400;
  const bytesOut = async (device: string) => {
    const table = await inNet(lab.host, 'cat', ['/proc/net/dev']);
    const counters = table.split('\n').find((line) => line.trim().startsWith(`${device}:`));
    return Number(counters?.trim().split(/\s+/)[9]);
  };

  test('holds for what a sandbox sends', async () => {
    const sent = async () => {
      const before = await bytesOut('uplink');
      await ask(net(), 'pour', FIRST, 1_500);
      return (await bytesOut('uplink')) - before;
    };
    expect(await sent()).toBeGreaterThan(SENT * 0.9);
    await server.setPolicy(A, sandbox, { ...OPEN, bandwidth: { outMbps: 0.1 } });
    expect(await sent()).toBeLessThan(SENT / 2);
    await server.setPolicy(A, sandbox, { ...OPEN, bandwidth: { outMbps: 1_000 } });
    expect(await sent()).toBeGreaterThan(SENT / 2);
  });

  test('holds for what it gets, and not for what the host sends it', async () => {
    await server.setPolicy(A, sandbox, { ...OPEN, bandwidth: { inMbps: 0.1 } });
    const talk = await startTalk(lab, net(), FIRST);
    const before = await bytesOut(sandbox.hostInterface);
    await talk.say('x'.repeat(SENT));
    expect((await bytesOut(sandbox.hostInterface)) - before).toBeLessThan(SENT / 2);
    await ask(lab.host, 'pour', sandbox.address, 1_500);
    expect((await bytesOut(sandbox.hostInterface)) - before).toBeGreaterThan(SENT * 0.9);
  });
});
