import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ask,
  HOST_ADDRESS,
  inNet,
  type Lab,
  openLab,
  PORT,
  type TakenNamespaces,
  type TestServer,
  WORLD,
} from './testing/lab.ts';
import { sendRaw, sniff } from './testing/lab-traffic.ts';

const [A, B] = ['aaaaaaaa', 'bbbbbbbb'];
const HOST_INNER = '10.77.0.1';
const HOST_RESOLVER = '127.0.0.53';
const FORBIDDEN = [
  '10.50.0.1',
  '10.255.255.254',
  '172.16.5.1',
  '172.31.255.254',
  '192.168.5.1',
  '100.64.5.1',
  '100.127.255.254',
  '169.254.5.1',
  '192.0.0.5',
  '198.18.5.1',
  WORLD.metadata,
];

let lab: Lab;
let server: TestServer;
/** Two of one server, one of another: whoever owns them, they are strangers. */
let first: TakenNamespaces;
let second: TakenNamespaces;
let foreign: TakenNamespaces;

beforeAll(async () => {
  lab = await openLab();
  const addresses = FORBIDDEN.filter((address) => address !== WORLD.metadata);
  await inNet(
    lab.world,
    'ip',
    ['-batch', '-'],
    addresses.map((address) => `addr add ${address}/32 dev uplink`),
  );
  await inNet(
    lab.host,
    'ip',
    ['-batch', '-'],
    [
      'link add inner0 type veth peer name inner1',
      `addr add ${HOST_INNER}/24 dev inner0`,
      'link set inner0 up',
      'link set inner1 up',
      `addr add ${HOST_RESOLVER}/32 dev lo`,
    ],
  );
  server = await lab.startServer();
  const settings = { cidr: '10.213.0.0/16', ready: 2, allowPrivate: [], dns: [WORLD.nameServer] };
  await server.open(A, settings);
  await server.open(B, { ...settings, cidr: '10.214.0.0/16' });
  const taken = [...(await server.take(A, 2)), ...(await server.take(B, 1))];
  const [one, two, three] = taken;
  if (!one || !two || !three) throw new Error('expected three');
  [first, second, foreign] = [one, two, three];
  for (const stranger of [second, foreign]) {
    lab.start(server.net(stranger), [process.execPath, '-e', SERVER]);
  }
});
afterAll(() => lab?.close());

const SERVER = `require('node:net').createServer((socket) => socket.end('{}')).listen(${PORT}, '0.0.0.0')`;
const net = () => server.net(first);
const datagramsOf = async (at: string, address: string) => (await ask(at, 'tcp', address, PORT)).datagrams ?? [];

describe('a sandbox reaches', () => {
  test('no address that the host has on any interface', async () => {
    expect(await ask(lab.host, 'tcp', HOST_INNER, PORT)).toMatchObject({ ok: true });
    for (const address of [HOST_ADDRESS, HOST_INNER, first.gateway, second.gateway, foreign.gateway]) {
      expect(await ask(net(), 'tcp', address, PORT), address).toMatchObject({ ok: false });
    }
    const before = await datagramsOf(lab.host, '127.0.0.1');
    for (const address of [HOST_ADDRESS, HOST_INNER, first.gateway]) {
      await sendRaw(net(), 'send', first.address, address, 'to the host');
    }
    expect(await datagramsOf(lab.host, '127.0.0.1')).toEqual(before);
  });

  test('no service on the host’s loopback, its name server either, also when it sends loopback addresses out', async () => {
    expect(await ask(lab.host, 'udp', HOST_RESOLVER, 53, 'query')).toMatchObject({ ok: true });
    await inNet(net(), 'sh', [
      '-c',
      `echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet; ip route del local 127.0.0.0/8 dev lo table local; ip route add 127.0.0.0/8 via ${first.gateway}`,
    ]);
    for (const address of [HOST_RESOLVER, '127.0.0.1']) {
      expect(await ask(net(), 'udp', address, 53, 'query'), address).toMatchObject({ ok: false });
      expect(await ask(net(), 'tcp', address, PORT), address).toMatchObject({ ok: false });
    }
  });

  test('no other sandbox, of its own server or of another', async () => {
    for (const stranger of [second, foreign]) {
      expect(await ask(net(), 'tcp', stranger.address, PORT)).toMatchObject({ ok: false });
      for (const source of [first.address, second.gateway, foreign.gateway, HOST_ADDRESS, WORLD.publicHost]) {
        const [frames] = await sniff(lab, server.net(stranger), 'eth0', 'marker');
        await sendRaw(net(), 'send', source, stranger.address, 'from a stranger');
        await ask(lab.host, 'send', stranger.address, 9, 'marker');
        expect(
          (await frames)?.filter((frame) => frame.endsWith(`0800 ${stranger.address}`)),
          source,
        ).toHaveLength(1);
      }
    }
  });

  test.each(FORBIDDEN)('not %s, although the world would answer there', async (address) => {
    expect(await ask(lab.host, 'tcp', address, PORT)).toMatchObject({ ok: true });
    expect(await ask(net(), 'tcp', address, PORT)).toMatchObject({ ok: false });
  });

  test('nobody by broadcast or multicast, and nobody under an address that is not its own', async () => {
    const [frames] = await sniff(lab, lab.world, 'uplink', 'marker');
    for (const target of [
      '224.0.0.1',
      '224.0.0.251',
      '239.255.255.250',
      '255.255.255.255',
      '198.51.100.255',
      '240.0.0.1',
    ]) {
      await sendRaw(net(), 'send', first.address, target, 'to many');
    }
    for (const source of [second.address, foreign.address, HOST_ADDRESS, '192.0.2.66', '127.0.0.1', '224.0.0.1']) {
      await sendRaw(net(), 'send', source, WORLD.publicHost, 'forged');
    }
    await ask(net(), 'send', WORLD.publicHost, PORT, 'marker');
    // What goes to the host's address are the world's own answers.
    const packets = (await frames)?.filter((frame) => / 0800 (?!198\.51\.100\.1$)/.test(frame));
    expect(packets?.map((frame) => frame.split(' ')[2])).toEqual([WORLD.publicHost]);
  });
});

describe('a sandbox that forges frames', () => {
  const neighbours = (at: string) => inNet(at, 'sh', ['-c', 'ip -4 neigh; ip -6 neigh; ip -6 route; ip -6 addr']);

  test('takes no other’s address, neither towards the host nor towards the other', async () => {
    expect(await ask(lab.host, 'tcp', second.address, PORT)).toMatchObject({ ok: true });
    const before = await inNet(lab.host, 'ip', ['-4', 'neigh', 'show', 'dev', second.hostInterface]);
    const [frames] = await sniff(lab, server.net(second), 'eth0', 'marker');
    for (const address of [second.address, second.gateway, HOST_ADDRESS, WORLD.router]) {
      await sendRaw(net(), 'arp', 'eth0', address);
    }
    await ask(lab.host, 'send', second.address, 9, 'marker');
    const own = /ether (\S+)/.exec(await inNet(net(), 'ip', ['-o', 'link', 'show', 'eth0']))?.[1] ?? 'none';
    expect((await frames)?.filter((frame) => frame.startsWith(own))).toEqual([]);
    const lladdr = (text: string) => /lladdr (\S+)/.exec(text)?.[1];
    const after = await inNet(lab.host, 'ip', ['-4', 'neigh', 'show', 'dev', second.hostInterface]);
    expect(lladdr(after)).toBe(lladdr(before));
    expect(await ask(lab.host, 'tcp', second.address, PORT)).toMatchObject({ ok: true });
    expect(await ask(lab.host, 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: true });
  });

  test('gives nobody an IPv6 address, a route or a neighbour', async () => {
    const before = { host: await neighbours(lab.host), second: await neighbours(server.net(second)) };
    await sendRaw(net(), 'advertise', 'eth0');
    await ask(lab.host, 'send', first.address, 9, 'after it');
    for (const text of [await neighbours(lab.host), await neighbours(server.net(second))]) {
      expect(text).not.toContain('2001:db8:bad');
      expect(text).not.toContain('fe80::bad');
    }
    expect(before.host).not.toContain('bad');
  });

  test('has no IPv6 to the world, also where the host would forward it', async () => {
    await inNet(lab.world, 'sh', [
      '-c',
      'ip addr add 2001:db8:1::2/64 dev uplink nodad; ip -6 route add default via 2001:db8:1::1',
    ]);
    await inNet(lab.host, 'sh', [
      '-c',
      'ip addr add 2001:db8:1::1/64 dev uplink nodad; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding',
    ]);
    expect(await ask(lab.host, 'tcp', '2001:db8:1::2', PORT)).toMatchObject({ ok: true });
    const mac = /ether (\S+)/.exec(await inNet(lab.host, 'ip', ['-o', 'link', 'show', first.hostInterface]))?.[1] ?? '';
    await inNet(net(), 'sh', [
      '-c',
      `echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo 0 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
       ip addr add 2001:db8:5::2/64 dev eth0 nodad; ip -6 neigh add 2001:db8:5::1 lladdr ${mac} dev eth0
       ip -6 route add default via 2001:db8:5::1 dev eth0`,
    ]);
    expect(await ask(net(), 'tcp', '2001:db8:1::2', PORT)).toMatchObject({ ok: false });
    expect(await ask(net(), 'tcp', '2001:db8:1::1', PORT)).toMatchObject({ ok: false });
    // IPv4 in IPv6 clothes is IPv4, and IPv6 in IPv4 clothes is no public address either.
    expect(await ask(net(), 'tcp', `::ffff:${WORLD.metadata}`, PORT)).toMatchObject({ ok: false });
  });
});
