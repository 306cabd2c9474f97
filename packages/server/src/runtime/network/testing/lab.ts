/**
 * A host and the world around it, each a network namespace of its own, so that tests of firewalls and interfaces never
 * touch the machine that they run on.
 *
 *     sandboxes ── host (198.51.100.1) ── world (198.51.100.2 and the addresses in WORLD)
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { run } from '../../../platform/process.ts';
import type { NetworkPolicy } from '../../types.ts';

export const WORLD = {
  publicHost: '203.0.113.10',
  privateHost: '10.99.0.10',
  nameServer: '192.168.77.53',
  metadata: '169.254.169.254',
  router: '198.51.100.2',
} as const;
export const HOST_ADDRESS = '198.51.100.1';
export const PORT = 8080;

export const PEER = fileURLToPath(new URL('./peer.ts', import.meta.url));
const POOL_CHILD = fileURLToPath(new URL('./pool-child.ts', import.meta.url));
const COMMAND_TIMEOUT_MS = 20_000;

const answerSchema = z.object({
  ok: z.boolean(),
  code: z.string().optional(),
  remote: z.string().optional(),
  datagrams: z.array(z.string()).optional(),
  rcode: z.string().optional(),
  addresses: z.array(z.string()).optional(),
});
export type Answer = z.infer<typeof answerSchema>;

const namespacesSchema = z.object({
  index: z.number(),
  userPath: z.string(),
  netPath: z.string(),
  hostInterface: z.string(),
  address: z.string(),
  gateway: z.string(),
});
export type TakenNamespaces = z.infer<typeof namespacesSchema>;

const replySchema = z.object({
  id: z.number(),
  result: z.unknown().optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
});

/** A network namespace by a path that `nsenter --net=` takes. */
export type NetPath = string;

export interface Lab {
  readonly host: NetPath;
  readonly world: NetPath;
  readonly directory: string;
  /** A process in a network namespace, ended with the lab. */
  start(net: NetPath, command: readonly string[]): ChildProcess;
  startServer(): Promise<TestServer>;
  /** One more network that only the host reaches, under this address of 192.0.2.0/24. */
  addNeighbour(address: string): Promise<NetPath>;
  close(): Promise<void>;
}

export async function openLab(): Promise<Lab> {
  const directory = mkdtempSync(join(tmpdir(), 'darkroom-network-'));
  const children: ChildProcess[] = [];

  function track(child: ChildProcess): ChildProcess {
    children.push(child);
    return child;
  }

  const start: Lab['start'] = (net, command) =>
    track(spawn('nsenter', [`--net=${net}`, ...command], { stdio: ['pipe', 'pipe', 'inherit'] }));

  async function makeNet(): Promise<NetPath> {
    const child = track(spawn('unshare', ['--net', 'sh', '-c', 'echo ready; read -r _'], { stdio: 'pipe' }));
    await firstOutput(child);
    return `/proc/${child.pid}/ns/net`;
  }

  async function addNeighbour(address: string): Promise<NetPath> {
    const net = await makeNet();
    const link = `near${address.split('.')[3]}`;
    await inNet(
      host,
      'ip',
      ['-batch', '-'],
      [
        `link add ${link} type veth peer name near netns ${net.split('/')[2]}`,
        `addr add 192.0.2.1/24 dev ${link}`,
        `link set ${link} up`,
      ],
    );
    const lines = ['link set lo up', `addr add ${address}/24 dev near`, 'link set near up'];
    await inNet(net, 'ip', ['-batch', '-'], lines);
    return net;
  }

  async function serve(net: NetPath, addresses: readonly string[]) {
    await firstOutput(start(net, [process.execPath, PEER, 'serve', ['0.0.0.0', ...addresses].join(','), `${PORT},53`]));
  }

  async function close() {
    for (const child of children) child.kill('SIGKILL');
    await Promise.all(children.map((child) => child.exitCode ?? child.signalCode ?? once(child, 'exit')));
    rmSync(directory, { recursive: true, force: true });
  }

  const host = await makeNet();
  try {
    const world = await makeNet();
    await inNet(
      host,
      'ip',
      ['-batch', '-'],
      [
        'link set lo up',
        `link add uplink type veth peer name uplink netns ${world.split('/')[2]}`,
        `addr add ${HOST_ADDRESS}/24 dev uplink`,
        'link set uplink up',
      ],
    );
    await inNet(
      world,
      'ip',
      ['-batch', '-'],
      [
        'link set lo up',
        `addr add ${WORLD.router}/24 dev uplink`,
        ...Object.values(WORLD)
          .slice(0, -1)
          .map((address) => `addr add ${address}/32 dev uplink`),
        'link set uplink up',
        // The world knows the way back, so that what fails below fails for the firewall and not for want of a route.
        `route add 10.213.0.0/16 via ${HOST_ADDRESS}`,
        `route add 10.214.0.0/16 via ${HOST_ADDRESS}`,
      ],
    );
    await inNet(host, 'ip', ['route', 'add', 'default', 'via', WORLD.router]);
    await serve(host, [HOST_ADDRESS]);
    await serve(world, Object.values(WORLD));
    return {
      host,
      world,
      directory,
      start,
      addNeighbour,
      startServer: async () => {
        const inHost = [`--net=${host}`, 'unshare', '--mount', process.execPath, POOL_CHILD];
        const child = track(spawn('nsenter', inHost, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }));
        return testServer(child, directory);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

export interface PoolSettings {
  cidr: string;
  ready: number;
  allowPrivate: string[];
  dns: string[];
  idCount?: number;
}

/** A server process with its own mount namespace, on the lab's host. */
export interface TestServer {
  open(
    pool: string,
    settings: PoolSettings,
    inUse?: readonly { index: number; policy?: NetworkPolicy }[],
  ): Promise<void>;
  take(pool: string, count: number): Promise<TakenNamespaces[]>;
  /** Takes and gives up in the same moment; how each take ended. */
  takeAndAbort(pool: string, count: number): Promise<string[]>;
  forwardWarning(prefix: string): Promise<string | null>;
  release(pool: string, namespaces: readonly { index: number }[]): Promise<void>;
  setPolicy(pool: string, namespaces: { index: number }, policy: NetworkPolicy): Promise<void>;
  block(pool: string, namespaces: { index: number }, blocked: boolean): Promise<void>;
  close(pool: string): Promise<void>;
  /** Where the sandbox's network is reached from outside of the server's mount namespace. */
  net(namespaces: TakenNamespaces): NetPath;
  user(namespaces: TakenNamespaces): string;
  /** Processes that share the server's mount namespace, without itself. */
  helpers(): number[];
  kill(): Promise<void>;
}

function testServer(child: ChildProcess, directory: string): TestServer {
  const pending = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  let lastId = 0;
  let mountNamespace = '';

  child.on('message', (message: unknown) => {
    const reply = replySchema.parse(message);
    const call = pending.get(reply.id);
    pending.delete(reply.id);
    if (reply.error) call?.reject(new Error(`${reply.error.code}: ${reply.error.message}`));
    else call?.resolve(reply.result);
  });
  child.on('exit', () => {
    for (const call of pending.values()) call.reject(new Error('the server ended'));
  });

  async function call(what: string, args: object): Promise<unknown> {
    lastId += 1;
    const answer = new Promise((resolve, reject) => pending.set(lastId, { resolve, reject }));
    child.send({ do: what, id: lastId, ...args });
    const result = await answer;
    mountNamespace = readlinkSync(`/proc/${child.pid}/ns/mnt`);
    return result;
  }

  return {
    open: async (pool, settings, inUse = []) => void (await call('open', { pool, settings, inUse, directory })),
    take: async (pool, count) => z.array(namespacesSchema).parse(await call('take', { pool, count })),
    takeAndAbort: async (pool, count) => z.array(z.string()).parse(await call('takeAndAbort', { pool, count })),
    forwardWarning: async (prefix) =>
      z
        .string()
        .nullable()
        .parse(await call('forwardWarning', { prefix })),
    release: async (pool, namespaces) => void (await call('release', { pool, namespaces })),
    setPolicy: async (pool, namespaces, policy) => void (await call('setPolicy', { pool, namespaces, policy })),
    block: async (pool, namespaces, blocked) =>
      void (await call('setPolicy', { pool, namespaces, policy: { blockAll: blocked } })),
    close: async (pool) => void (await call('close', { pool })),
    net: (namespaces) => `/proc/${child.pid}/root${namespaces.netPath}`,
    user: (namespaces) => `/proc/${child.pid}/root${namespaces.userPath}`,
    helpers: () => processesIn(mountNamespace).filter((pid) => pid !== child.pid),
    async kill() {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
  };
}

export function ask(
  net: NetPath,
  how: 'tcp' | 'udp' | 'send' | 'flood' | 'lookup' | 'pour' | 'ask',
  ...args: (string | number)[]
): Promise<Answer> {
  return inNet(net, process.execPath, [PEER, how, ...args.map(String)]).then((text) =>
    answerSchema.parse(JSON.parse(text)),
  );
}

export async function inNet(net: NetPath, command: string, args: readonly string[], lines: readonly string[] = []) {
  const input = lines.map((line) => `${line}\n`).join('');
  const result = await run('nsenter', [`--net=${net}`, command, ...args], { input, timeoutMs: COMMAND_TIMEOUT_MS });
  return result.stdout;
}

export async function interfacesOf(net: NetPath): Promise<string[]> {
  const listing = z.array(z.object({ ifname: z.string() })).parse(JSON.parse(await inNet(net, 'ip', ['-j', 'link'])));
  return listing.map((link) => link.ifname);
}

/** The kernel takes an unused network namespace away a little later; asks again until it has, for ten seconds at most. */
export async function eventually(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`did not come true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

async function firstOutput(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit').then(() => {
    throw new Error('ended before it was ready');
  });
  await Promise.race([child.stdout ? once(child.stdout, 'data') : ended, ended]);
  ended.catch(() => {});
}

function processesIn(mountNamespace: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/ns/mnt`) === mountNamespace;
      } catch {
        return false;
      }
    });
}
