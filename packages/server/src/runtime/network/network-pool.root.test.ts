import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  ask,
  eventually,
  HOST_ADDRESS,
  inNet,
  interfacesOf,
  type Lab,
  openLab,
  PEER,
  PORT,
  type PoolSettings,
  type TakenNamespaces,
  type TestServer,
  WORLD,
} from './testing/lab.ts';

const A = 'aaaaaaaa';
const B = 'bbbbbbbb';
const settings: PoolSettings = {
  cidr: '10.213.0.0/16',
  ready: 4,
  allowPrivate: [],
  dns: [WORLD.nameServer, HOST_ADDRESS],
};
const otherSettings: PoolSettings = {
  ...settings,
  cidr: '10.214.0.0/16',
  ready: 1,
  allowPrivate: ['10.0.0.0/8', '10.1.2.3/16', 'fd00::/8'],
};

let lab: Lab;
beforeAll(async () => {
  lab = await openLab();
});
afterAll(() => lab?.close());

function two(taken: readonly TakenNamespaces[]): [TakenNamespaces, TakenNamespaces] {
  const [first, second] = taken;
  if (first === undefined || second === undefined) throw new Error('expected two');
  return [first, second];
}

describe('a sandbox’s network', () => {
  let server: TestServer;
  let first: TakenNamespaces;
  let second: TakenNamespaces;
  let friendly: TakenNamespaces;
  beforeAll(async () => {
    server = await lab.startServer();
    await server.open(A, settings);
    await server.open(B, otherSettings);
    [first, second] = two(await server.take(A, 2));
    [friendly] = two(await server.take(B, 2));
  });
  afterAll(() => server?.kill());

  test('reaches public hosts, which see the host’s address', async () => {
    expect(await ask(server.net(first), 'tcp', WORLD.publicHost, PORT)).toMatchObject({
      ok: true,
      remote: HOST_ADDRESS,
    });
    expect(await ask(server.net(first), 'udp', WORLD.publicHost, PORT, 'hello')).toMatchObject({
      ok: true,
      remote: HOST_ADDRESS,
    });
  });

  test('reaches no address of the host', async () => {
    expect(await ask(lab.world, 'tcp', HOST_ADDRESS, PORT)).toMatchObject({ ok: true });
    for (const address of [HOST_ADDRESS, first.gateway, second.gateway, friendly.gateway]) {
      expect(await ask(server.net(first), 'tcp', address, PORT), address).toMatchObject({ ok: false });
      expect(await ask(server.net(friendly), 'tcp', address, PORT), address).toMatchObject({ ok: false });
    }
    const before = await ask(lab.host, 'tcp', '127.0.0.1', PORT);
    await ask(server.net(first), 'udp', HOST_ADDRESS, PORT, 'to the host');
    await ask(server.net(first), 'udp', '255.255.255.255', PORT, 'to all');
    expect((await ask(lab.host, 'tcp', '127.0.0.1', PORT)).datagrams).toEqual(before.datagrams);
  });

  test('reaches no port of the host through another table’s DNAT', async () => {
    const dnat = 'chain pre { type nat hook prerouting priority dstnat; tcp dport 9090 dnat to 203.0.113.10:8080; }';
    const snat = 'chain post { type nat hook postrouting priority srcnat; ip daddr 203.0.113.10 masquerade; }';
    await inNet(lab.host, 'nft', ['-f', '-'], [`table ip published { ${dnat}; ${snat}; }`]);
    try {
      expect(await ask(lab.world, 'tcp', HOST_ADDRESS, 9090)).toMatchObject({ ok: true });
      expect(await ask(server.net(first), 'tcp', HOST_ADDRESS, 9090)).toMatchObject({ ok: false });
    } finally {
      await inNet(lab.host, 'nft', ['delete', 'table', 'ip', 'published']);
    }
  });

  test('is reached by the host, but by nobody else', async () => {
    const inside = lab.start(server.net(first), [process.execPath, PEER, 'serve', '0.0.0.0', String(PORT)]);
    await new Promise((resolve) => inside.stdout?.once('data', resolve));
    expect(await ask(lab.host, 'tcp', first.address, PORT)).toMatchObject({ ok: true, remote: first.gateway });
    expect(await ask(lab.world, 'tcp', first.address, PORT)).toMatchObject({ ok: false });
    expect(await ask(server.net(second), 'tcp', first.address, PORT)).toMatchObject({ ok: false });
    expect(await ask(server.net(friendly), 'tcp', first.address, PORT)).toMatchObject({ ok: false });
    await server.block(A, first, true);
    expect(await ask(lab.host, 'tcp', first.address, PORT)).toMatchObject({ ok: true });
    await server.block(A, first, false);
    inside.kill('SIGKILL');
  });

  test('never reaches metadata services, also not where private ranges are allowed', async () => {
    for (const net of [server.net(first), server.net(friendly)]) {
      expect(await ask(net, 'tcp', WORLD.metadata, PORT)).toMatchObject({ ok: false });
    }
    expect(await ask(lab.host, 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: true });
  });

  test('reaches private ranges only where they are allowed', async () => {
    expect(await ask(server.net(first), 'tcp', WORLD.privateHost, PORT)).toMatchObject({ ok: false });
    expect(await ask(server.net(friendly), 'tcp', WORLD.privateHost, PORT)).toMatchObject({ ok: true });
    expect(await ask(server.net(friendly), 'tcp', WORLD.nameServer, PORT)).toMatchObject({ ok: false });
  });

  test('asks the configured name servers, private ones and the host’s own, and only on port 53', async () => {
    for (const address of [WORLD.nameServer, HOST_ADDRESS]) {
      expect(await ask(server.net(first), 'udp', address, 53, 'query'), address).toMatchObject({ ok: true });
      expect(await ask(server.net(first), 'tcp', address, 53), address).toMatchObject({ ok: true });
      expect(await ask(server.net(first), 'tcp', address, PORT), address).toMatchObject({ ok: false });
    }
    expect(await ask(server.net(first), 'udp', WORLD.privateHost, 53, 'query')).toMatchObject({ ok: false });
  });

  test('cannot send under another address', async () => {
    const net = server.net(first);
    for (const stolen of [second.address, WORLD.router, '192.0.2.77', first.gateway]) {
      await inNet(net, 'ip', ['addr', 'add', `${stolen}/32`, 'dev', 'lo']);
      await ask(net, 'send', WORLD.publicHost, PORT, `as ${stolen}`, stolen);
      await inNet(net, 'ip', ['addr', 'del', `${stolen}/32`, 'dev', 'lo']);
    }
    // Comes after the others on the same way, so that what is not there by then does not come.
    const { datagrams } = await ask(net, 'udp', WORLD.publicHost, PORT, 'as itself');
    expect(datagrams?.filter((text) => text.startsWith('as '))).toEqual(['as itself']);
  });

  test('has no IPv6 to the host, even when root in it turns it on', async () => {
    const net = server.net(first);
    expect(await inNet(net, 'ip', ['-6', 'addr'])).toBe('');
    expect(await inNet(lab.host, 'ip', ['-6', 'addr', 'show', 'dev', first.hostInterface])).toBe('');
    await inNet(net, 'sh', [
      '-c',
      'echo 0 >/proc/sys/net/ipv6/conf/all/disable_ipv6; ip addr add fe80::2/64 dev eth0 nodad',
    ]);
    const mac = (await inNet(lab.host, 'sh', ['-c', `ip -o link show ${first.hostInterface}`])).match(
      /ether (\S+)/,
    )?.[1];
    expect(await ask(net, 'tcp', `${linkLocal(mac ?? '')}%eth0`, PORT)).toMatchObject({ ok: false });
  });

  test('reaches nothing while it is blocked', async () => {
    await server.block(A, second, true);
    expect(await ask(server.net(second), 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: false });
    expect(await ask(server.net(second), 'udp', WORLD.nameServer, 53, 'query')).toMatchObject({ ok: false });
    expect(await ask(server.net(second), 'udp', HOST_ADDRESS, 53, 'query')).toMatchObject({ ok: false });
    expect(await ask(server.net(first), 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: true });
    await server.block(A, second, false);
    expect(await ask(server.net(second), 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: true });
  });

  test('is owned by a user namespace in which root is an ordinary user of the host', async () => {
    const map = await inNet(lab.host, 'nsenter', [`--user=${server.user(first)}`, 'cat', '/proc/self/uid_map']);
    expect(map.trim().split(/\s+/)).toEqual(['0', '1000000000', '65536']);
    const owned = await inNet(lab.host, 'nsenter', [
      `--user=${server.user(first)}`,
      `--net=${server.net(first)}`,
      'ip',
      'link',
      'set',
      'lo',
      'up',
    ]);
    expect(owned).toBe('');
  });

  test('cannot use up the connections of the host', async () => {
    await ask(server.net(second), 'flood', WORLD.publicHost, 10_000);
    const count = await inNet(lab.host, 'cat', ['/proc/sys/net/netfilter/nf_conntrack_count']);
    expect(Number(count)).toBeLessThan(9_000);
    expect(await ask(server.net(second), 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: false });
    expect(await ask(server.net(first), 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: true });
  });

  test('stays guarded when something else flushes the host’s firewall', async () => {
    await inNet(lab.host, 'nft', ['flush', 'ruleset']);
    await eventually('the tables are back', async () => {
      const tables = await inNet(lab.host, 'nft', ['list', 'tables']);
      return tables.includes(A) && tables.includes(B);
    });
    expect(await ask(server.net(first), 'tcp', HOST_ADDRESS, PORT)).toMatchObject({ ok: false });
    expect(await ask(server.net(first), 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: true });
  });
});

describe('the pool', () => {
  test('gives each taker other namespaces, also when more are asked for than are ready, and fills up again', async () => {
    const server = await lab.startServer();
    await server.open(A, settings);
    const taken = await server.take(A, 40);
    expect(new Set(taken.map((namespaces) => namespaces.index)).size).toBe(40);
    expect(new Set(taken.map((namespaces) => namespaces.address)).size).toBe(40);
    await eventually('four are ready again', async () => (await sandboxInterfaces(A)).length === 44);
    await server.release(A, taken);
    await server.release(A, taken);
    await eventually('only the ready ones are left', async () => (await sandboxInterfaces(A)).length === 4);
    await server.close(A);
    await eventually('all are gone', async () => (await sandboxInterfaces(A)).length === 0);
    expect(await inNet(lab.host, 'nft', ['list', 'tables'])).not.toContain(A);
    await server.kill();
  });

  test('says so when the range is used up, and has room again after a release', async () => {
    const server = await lab.startServer();
    await server.open(A, { ...settings, cidr: '10.213.0.0/28', ready: 2 });
    const taken = await server.take(A, 4);
    await expect(server.take(A, 1)).rejects.toThrow(
      /unavailable: no sandbox address is free: all 4 blocks of 10\.213\.0\.0\/28/,
    );
    await server.release(A, taken.slice(0, 1));
    const [again] = await server.take(A, 1);
    expect(again?.index).toBe(taken[0]?.index);
    await server.kill();
  });

  test('keeps two servers on one host apart', async () => {
    const [one, two] = [await lab.startServer(), await lab.startServer()];
    await one.open(A, settings);
    await two.open(B, otherSettings);
    const [[mine], [theirs]] = [await one.take(A, 1), await two.take(B, 1)];
    if (!mine || !theirs) throw new Error('expected both');
    expect(await ask(one.net(mine), 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: true });
    await one.release(A, [mine]);
    await one.close(A);
    expect(await ask(two.net(theirs), 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: true });
    await Promise.all([one.kill(), two.kill()]);
  });

  test('never gives an address that another server on the host gave, also when both have the same range', async () => {
    const range = { ...settings, cidr: '10.213.0.0/28', ready: 0 };
    const [one, two] = [await lab.startServer(), await lab.startServer()];
    await one.open(A, range);
    await two.open(B, range);
    const taken = [...(await one.take(A, 2)), ...(await two.take(B, 2))];
    expect(new Set(taken.map((namespaces) => namespaces.address)).size).toBe(4);
    for (const [position, namespaces] of taken.entries()) {
      const net = (position < 2 ? one : two).net(namespaces);
      expect(await ask(net, 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: true });
    }
    await Promise.all([one.kill(), two.kill()]);
  });

  test('gives nothing to a taker that gave up, and loses nothing by it', async () => {
    const server = await lab.startServer();
    await server.open(A, { ...settings, cidr: '10.213.0.0/27', ready: 0 });
    expect(await server.takeAndAbort(A, 3)).toEqual(['rejected', 'rejected', 'rejected']);
    await eventually('what was made for them is gone', async () => (await sandboxInterfaces(A)).length === 0);
    expect(await server.take(A, 8)).toHaveLength(8);
    await server.kill();
  });

  test('says why when namespaces cannot be made, and leaves nothing of them', async () => {
    const server = await lab.startServer();
    await server.open(A, { ...settings, ready: 0, idCount: 0 });
    await expect(server.take(A, 1)).rejects.toThrow(/unavailable: make network namespaces: .*uid_map/);
    expect(server.helpers()).toEqual([]);
    await server.close(A);
    await eventually('no interface is left', async () => (await sandboxInterfaces(A)).length === 0);
    await server.kill();
  });

  test('warns of a host firewall that drops what it does not know', async () => {
    const server = await lab.startServer();
    await server.open(A, settings);
    expect(await server.forwardWarning(`dr${A}`)).toBeNull();
    const drop = 'table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; }; }';
    await inNet(lab.host, 'nft', ['-f', '-'], [drop]);
    try {
      expect(await server.forwardWarning(`dr${A}`)).toContain('ip filter FORWARD');
    } finally {
      await inNet(lab.host, 'nft', ['delete', 'table', 'ip', 'filter']);
    }
    await server.kill();
  });

  test('leaves nothing behind when its server is killed while it fills', async () => {
    const server = await lab.startServer();
    await server.open(A, { ...settings, ready: 64 });
    await server.kill();
    await eventually('no holder is left', () => server.helpers().length === 0);
    await eventually('no interface is left', async () => (await sandboxInterfaces(A)).length === 0);
  });

  test('finds the networks of running sandboxes again, blocked ones blocked, and takes the rest away', async () => {
    const before = await lab.startServer();
    await before.open(A, { ...settings, cidr: '10.213.0.0/27', ready: 2 });
    const [free, blocked] = two(await before.take(A, 2));
    const [leftover] = await before.take(A, 1);
    if (!leftover) throw new Error('expected one');
    const nets = new Map<TakenNamespaces, string>();
    for (const namespaces of [free, blocked, leftover]) {
      const sandbox = lab.start(before.net(namespaces), ['sh', '-c', 'echo ready; read -r _']);
      await new Promise((resolve) => sandbox.stdout?.once('data', resolve));
      nets.set(namespaces, `/proc/${sandbox.pid}/ns/net`);
    }
    await before.block(A, blocked, true);
    await before.kill();

    const after = await lab.startServer();
    const inUse = [free, { ...blocked, policy: { blockAll: true } }];
    await after.open(A, { ...settings, cidr: '10.213.0.0/27', ready: 2 }, inUse);
    // Its name may be there again: the pool gives a free block to any namespace.
    expect(await ask(nets.get(leftover) ?? '', 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: false });
    expect(await ask(nets.get(free) ?? '', 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: true });
    expect(await ask(nets.get(blocked) ?? '', 'tcp', WORLD.publicHost, PORT)).toMatchObject({ ok: false });
    const others = await after.take(A, 6);
    expect(others.map((namespaces) => namespaces.index)).not.toContain(free.index);
    expect(others.map((namespaces) => namespaces.index)).not.toContain(blocked.index);
    await after.kill();
  });
});

async function sandboxInterfaces(tag: string): Promise<string[]> {
  return (await interfacesOf(lab.host)).filter((name) => name.startsWith(`dr${tag}`));
}

/** RFC 4291, appendix A: the link-local address that a kernel gives an Ethernet interface. */
function linkLocal(mac: string): string {
  const bytes = mac.split(':').map((byte) => Number.parseInt(byte, 16));
  const hex = [(bytes[0] ?? 0) ^ 2, bytes[1], bytes[2], 0xff, 0xfe, bytes[3], bytes[4], bytes[5]].map((byte) =>
    (byte ?? 0).toString(16).padStart(2, '0'),
  );
  return `fe80::${hex.join('').match(/.{4}/g)?.join(':')}`;
}
