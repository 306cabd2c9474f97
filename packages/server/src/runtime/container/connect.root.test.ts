import { readdirSync, readlinkSync } from 'node:fs';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addPython, shiftOwners } from '../../test-support/root-file-system.ts';
import { ID_BASE, openLab, type SandboxLab, shell } from '../testing/sandbox-lab.ts';
import type { ExecProcess } from '../types.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab();
  await addPython(lab.baseLayer);
  await shiftOwners(lab.baseLayer, ID_BASE);
  await Promise.all([lab.start('one'), lab.start('two', { network: { blockAll: true } })]);
}, 120_000);
afterAll(() => lab?.close());

/** Reads all that a connection brings, and answers `NAME: ALL`. With a `backlog` it never takes a connection. */
const SERVER = `
import socket, sys, threading
address, port, backlog = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
v6 = ':' in address
s = socket.create_server((address, port), family=socket.AF_INET6 if v6 else socket.AF_INET, backlog=backlog or 128, dualstack_ipv6=v6)
print('listening', flush=True)
def serve(c):
    data = b''
    while piece := c.recv(65536): data += piece
    c.sendall(socket.gethostname().encode() + b': ' + data)
    c.close()
while True:
    if backlog: threading.Event().wait()
    threading.Thread(target=serve, args=(s.accept()[0],)).start()
`;

/** A server that is there when the promise resolves. */
async function serve(id: string, address: string, port: number, backlog = 0): Promise<ExecProcess> {
  const argv = ['python3', '-c', SERVER, address, String(port), String(backlog)];
  const server = await lab.runtime.exec(id, { ...shell(''), argv });
  server.stdin.end();
  const words = text(server.stderr);
  await new Promise<void>((resolve, reject) => {
    server.stdout.once('data', () => resolve());
    server.exited.then(async () => reject(new Error(await words)), reject);
  });
  return server;
}

async function ask(id: string, port: number, question: string): Promise<string> {
  const socket = await lab.runtime.connect(id, port);
  // Half-open: the end of our side is heard, and the answer still comes.
  socket.end(question);
  return text(socket);
}

const ownAddress = async (id: string) =>
  (await lab.sh(id, "ip -4 -o addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'")).stdout.trim();

test('a server in the sandbox is reached on whichever address it listens', async () => {
  for (const address of ['127.0.0.1', '0.0.0.0', '::', await ownAddress('one')]) {
    const server = await serve('one', address, 8080);
    expect(await ask('one', 8080, address)).toBe(`one: ${address}`);
    await server.killTree();
  }
});

test('a sandbox whose network is blocked is reached as well, and each is reached as itself', async () => {
  const servers = await Promise.all(['one', 'two'].map((id) => serve(id, '127.0.0.1', 9000)));
  const answers = Array.from({ length: 100 }, async (_, i) => {
    const id = i % 2 === 0 ? 'one' : 'two';
    expect(await ask(id, 9000, String(i))).toBe(`${id}: ${i}`);
  });
  await Promise.all(answers);
  await Promise.all(servers.map((server) => server.killTree()));
});

test('the server itself stays in its own network, and keeps no descriptor', async () => {
  await lab.runtime.connect('one', 1).catch(() => {});
  const before = readlinkSync('/proc/thread-self/ns/net');
  const descriptors = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 20; i += 1) await lab.runtime.connect('one', 1).catch(() => {});
  expect(readlinkSync('/proc/thread-self/ns/net')).toBe(before);
  for (const thread of readdirSync('/proc/self/task')) {
    expect(readlinkSync(`/proc/self/task/${thread}/ns/net`)).toBe(before);
  }
  expect(readdirSync('/proc/self/fd').length).toBe(descriptors);
});

test('where nothing listens, or nothing runs, the error says so', async () => {
  await expect(lab.runtime.connect('one', 4711)).rejects.toMatchObject({ code: 'not_found' });
  await expect(lab.runtime.connect('nobody', 80)).rejects.toMatchObject({ code: 'conflict' });
  await expect(lab.runtime.connect('one', 0)).rejects.toMatchObject({ code: 'invalid_request' });
  await expect(lab.runtime.connect('one', 65_536)).rejects.toMatchObject({ code: 'invalid_request' });
  await lab.start('brief');
  const { pid } = (await lab.runtime.list()).find(({ id }) => id === 'brief') ?? {};
  expect(pid).toBeDefined();
  await lab.runtime.stop('brief', { graceMs: 0 });
  await expect(lab.runtime.connect('brief', 80)).rejects.toMatchObject({ code: 'conflict' });
});

test('a connection that the server does not take can be given up', async () => {
  // Its queue has room for a few; the kernel drops what comes behind them.
  const server = await serve('one', '127.0.0.1', 9001, 1);
  const taken: Socket[] = [];
  const gone = new AbortController();
  const attempts = Array.from({ length: 8 }, async () => {
    taken.push(await lab.runtime.connect('one', 9001, { signal: gone.signal }));
  });
  await Promise.race(attempts);
  gone.abort(new Error('enough'));
  const outcomes = await Promise.allSettled(attempts);
  expect(taken.length).toBeLessThan(attempts.length);
  for (const outcome of outcomes) {
    if (outcome.status === 'rejected') expect(outcome.reason).toEqual(new Error('enough'));
  }
  for (const socket of taken) socket.destroy();
  await server.killTree();
});

test('a connection ends when its sandbox does', async () => {
  await lab.start('mortal');
  await serve('mortal', '127.0.0.1', 80);
  const socket = await lab.runtime.connect('mortal', 80);
  const closed = new Promise((resolve) => {
    socket.on('error', () => {});
    socket.on('end', () => socket.end());
    socket.on('close', resolve);
  });
  socket.resume();
  await lab.runtime.remove('mortal');
  await closed;
});
