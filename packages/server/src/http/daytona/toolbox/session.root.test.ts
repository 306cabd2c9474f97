import { readdir } from 'node:fs/promises';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { bash, busyboxWith, empty } from '../../../test-support/layers.ts';
import { setUpServer } from '../../../test-support/set-up-server.ts';

const ash = busyboxWith('ash');
const lab = setUpServer();
const { client } = lab;
const ids: Record<string, string> = {};
let id: string;

beforeAll(async () => {
  const image = JSON.stringify({ env: ['FROM_IMAGE=yes'], user: 'app', workingDir: '/home/app' });
  for (const layer of [ash, bash]) {
    const snapshot = await lab.server.addSnapshot(lab.organizationId, layer, { image });
    ids[layer.name] = (await client.post('/api/sandbox', { snapshot })).body.id;
  }
  id = ids.bash ?? '';
}, 120_000);

let last = 0;
async function session(sandbox = id): Promise<string> {
  last += 1;
  const sessionId = `session-${last}`;
  const { status } = await client.post(`/toolbox/${sandbox}/process/session`, { sessionId });
  expect(status).toBe(201);
  return sessionId;
}
const at = (sessionId: string, sandbox = id) => `/toolbox/${sandbox}/process/session/${sessionId}`;
const exec = (sessionId: string, command: string, more: object = {}, sandbox = id) =>
  client.post(`${at(sessionId, sandbox)}/exec`, { command, ...more });
const commandAt = (sessionId: string, commandId: string, sandbox = id) =>
  `${at(sessionId, sandbox)}/command/${commandId}`;
async function start(sessionId: string, command: string, sandbox = id): Promise<string> {
  const { status, body } = await exec(sessionId, command, { runAsync: true }, sandbox);
  expect(status).toBe(202);
  return body.cmdId;
}
const exitCode = (sessionId: string, commandId: string, sandbox = id) =>
  expect.poll(async () => (await client.get(commandAt(sessionId, commandId, sandbox))).body.exitCode, {
    timeout: 20_000,
    interval: 20,
  });
const execute = (command: string, sandbox = id) => client.post(`/toolbox/${sandbox}/process/execute`, { command });
async function jsonLogs(
  sessionId: string,
  commandId: string,
): Promise<{ output: string; stdout: string; stderr: string }> {
  const headers = { 'x-daytona-sdk-version': '0.190.1' };
  return JSON.parse(await (await client.send('GET', `${commandAt(sessionId, commandId)}/logs`, { headers })).text());
}

interface Followed {
  frames: Buffer[];
  code: number;
}

/** Every frame until the server closes. `onFrame` is called with the count so far. */
function follow(path: string, onFrame: (count: number) => void = () => {}): Promise<Followed> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${lab.server.url.replace('http', 'ws')}${path}?follow=true`, {
      headers: { authorization: `Bearer ${lab.apiKey}` },
    });
    socket.binaryType = 'arraybuffer';
    const frames: Buffer[] = [];
    socket.addEventListener('message', ({ data }) => {
      frames.push(Buffer.from(data));
      onFrame(frames.length);
    });
    socket.addEventListener('error', () => reject(new Error(`following ${path} failed`)));
    socket.addEventListener('close', ({ code }) => resolve({ frames, code }));
  });
}
const textOf = ({ frames }: Followed, stream: 1 | 2) =>
  Buffer.concat(
    frames.filter((frame) => frame.subarray(0, 3).equals(Buffer.alloc(3, stream))).map((frame) => frame.subarray(3)),
  ).toString();

describe.each(['ash', 'bash'])('in %s', (shell) => {
  const box = () => ids[shell] ?? '';
  const run = (sessionId: string, command: string) => exec(sessionId, command, {}, box());

  test('a command gives its exit code and both outputs apart and together', async () => {
    const sessionId = await session(box());
    const { status, body } = await run(sessionId, 'echo out; echo err >&2; (exit 7)');
    expect(status).toBe(200);
    expect(body).toEqual({
      cmdId: expect.any(String),
      exitCode: 7,
      output: expect.stringMatching(/^(out\nerr\n|err\nout\n)$/),
      stdout: 'out\n',
      stderr: 'err\n',
    });
  });

  test('what a command changes is there for the next', async () => {
    const sessionId = await session(box());
    await run(sessionId, 'mkdir -p "a dir" && cd "a dir"; export A=1; b=2; greet() { echo "hello $1"; }; set -- x y');
    const { body } = await run(
      sessionId,
      'pwd; sh -c "echo $A"; echo $b; greet you; echo "$*"; echo $FROM_IMAGE; id -un',
    );
    expect(body.stdout).toBe('/home/app/a dir\n1\n2\nhello you\nx y\nyes\napp\n');
  });

  test.each([
    ['if true', 2],
    ['echo "open', 2],
    ["echo 'it''s", 2],
    ['for i in 1 2; do echo $i', 2],
    [')', 2],
    ['. /no/such/file', undefined],
    [': > /no/such/dir/x', undefined],
    ['nosuchcommand', 127],
    ['break; continue', 0],
  ])('the error of %j is its own', async (command, code) => {
    const sessionId = await session(box());
    const { status, body } = await run(sessionId, command);
    expect(status).toBe(200);
    if (code !== undefined) expect(body.exitCode).toBe(code);
    expect((await run(sessionId, 'echo fine')).body.stdout).toBe('fine\n');
  });

  test('commands of several lines, here-documents and quotes arrive as they are', async () => {
    const sessionId = await session(box());
    const text = 'x="a b"\ncat <<\'E\'\n$x \'one\' "two" `three` \\\nE\ncat <<E\n$x\nE\necho "$x" # comment';
    expect((await run(sessionId, text)).body.stdout).toBe('$x \'one\' "two" `three` \\\na b\na b\n');
    expect((await run(sessionId, `printf %s 'ü€😀'`)).body.stdout).toBe('ü€😀');
  });

  test('a command that reads its input finds it empty, and takes nothing of what comes behind it', async () => {
    const sessionId = await session(box());
    expect((await run(sessionId, 'cat; read x; echo "[$x]"')).body).toMatchObject({ exitCode: 0, stdout: '[]\n' });
    expect((await run(sessionId, 'echo next')).body.stdout).toBe('next\n');
  });

  test('a command that ends the shell has its exit code, and the session says that it has ended', async () => {
    const sessionId = await session(box());
    expect((await run(sessionId, 'echo bye; exit 3')).body).toMatchObject({ exitCode: 3, stdout: 'bye\n' });
    const after = await run(sessionId, 'echo more');
    expect(after).toMatchObject({
      status: 409,
      body: { message: expect.stringContaining('has ended: its shell exited with code 3') },
    });
    const replaced = await session(box());
    expect((await run(replaced, 'exec sh -c "echo instead; exit 4"')).body).toMatchObject({
      exitCode: 4,
      stdout: 'instead\n',
    });
    expect((await client.get(at(sessionId, box()))).body.commands).toHaveLength(1);
    expect((await client.delete(at(sessionId, box()))).status).toBe(204);
  });

  test('a process in the background that holds the output does not hold the answer', async () => {
    const sessionId = await session(box());
    const { body } = await run(sessionId, 'sleep 4321 & echo started');
    expect(body).toMatchObject({ exitCode: 0, stdout: 'started\n' });
    expect((await run(sessionId, 'jobs -p | wc -l')).body.stdout.trim()).toBe('1');
  });

  test('deleting ends everything that was started, also what changed its session, also after the shell has ended', async () => {
    for (const end of ['true', 'exit 0']) {
      const sessionId = await session(box());
      await run(sessionId, `setsid sleep 4322 & (setsid sleep 4322 &) ; sleep 4322 & ${end}`);
      const alive = 'ps -o args | grep -c "[s]leep 4322"';
      await expect.poll(async () => (await execute(alive, box())).body.result).toBe('3\n');
      expect((await client.delete(at(sessionId, box()))).status).toBe(204);
      expect((await execute(alive, box())).body.result).toBe('0\n');
      expect((await client.get(at(sessionId, box()))).status).toBe(404);
    }
  });

  test('bytes of any kind come through, also without a newline at the end', async () => {
    const sessionId = await session(box());
    const { body } = await run(sessionId, `printf 'a\\000b\\377c\\036d\\036'; printf 'e\\001\\002' >&2`);
    expect(body).toMatchObject({ stdout: 'a\0b\ufffdc\x1ed\x1e', stderr: 'e\x01\x02' });
  });

  test('the shell shows nothing of its own, whatever is set', async () => {
    const sessionId = await session(box());
    await run(sessionId, 'set -x; set -u; IFS=x; alias printf=false; printf() { false; }; set -v');
    const { body } = await run(sessionId, 'set +x; echo "a"');
    expect(body).toMatchObject({ exitCode: 0, stdout: 'a\n' });
    expect(body.stderr).not.toContain('\x1e');
    expect(body.stderr).not.toMatch(/[0-9a-f]{32}/);
  });
});

test('sessions have their own names, and are listed', async () => {
  const sessionId = await session();
  expect(await client.post(`/toolbox/${id}/process/session`, { sessionId })).toMatchObject({
    status: 409,
    body: { message: `Session ${sessionId} already exists` },
  });
  const { body: ran } = await exec(sessionId, 'true');
  const listed = (await client.get(`/toolbox/${id}/process/session`)).body;
  const commands = [{ id: ran.cmdId, command: 'true', exitCode: 0 }];
  expect(listed).toContainEqual({ sessionId, commands });
  expect((await client.get(at(sessionId))).body).toEqual({ sessionId, commands });
  expect((await client.get(commandAt(sessionId, ran.cmdId))).body).toEqual(commands[0]);
});

test.each([
  ['POST', '', { sessionId: '' }, 400],
  ['POST', '', { sessionId: 'a/b' }, 400],
  ['POST', '', { sessionId: 'entrypoint' }, 409],
  ['POST', '', {}, 400],
  ['POST', '/missing/exec', { command: 'true' }, 404],
  ['POST', '/missing/command/x/input', { data: 'x' }, 404],
  ['GET', '/missing', undefined, 404],
  ['GET', '/missing/command/x', undefined, 404],
  ['GET', '/missing/command/x/logs', undefined, 404],
  ['DELETE', '/missing', undefined, 404],
])('%s %s %j is refused', async (method, path, body, status) => {
  const answer = await client.send(method, `/toolbox/${id}/process/session${path}`, {
    ...(body && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  expect(answer.status).toBe(status);
});

test.each([
  ['no command', {}],
  ['an empty one', { command: '' }],
  ['one of nothing but space', { command: ' \n' }],
  ['one with NUL', { command: 'a\0b' }],
  ['one that belongs into a file', { command: 'x'.repeat(1024 * 1024 + 1) }],
])('%s is refused', async (_, body) => {
  const sessionId = await session();
  expect((await client.post(`${at(sessionId)}/exec`, body)).status).toBe(400);
});

test('a command may be as long as a megabyte', async () => {
  const sessionId = await session();
  const { body } = await exec(sessionId, `echo ${'y'.repeat(1024 * 1024 - 20)} | wc -c`);
  expect(body.stdout.trim()).toBe(String(1024 * 1024 - 19));
});

test('an unfollowed command that nobody knows is an ordinary 404 for a WebSocket too', async () => {
  const sessionId = await session();
  await expect(follow(`${commandAt(sessionId, 'missing')}/logs`)).rejects.toThrow('failed');
});

test('an async command answers at once, and the next one waits for its turn', async () => {
  const sessionId = await session();
  const first = await start(sessionId, 'read go; echo first $go');
  const second = start(sessionId, 'echo second');
  const third = exec(sessionId, 'echo third');
  expect((await client.get(commandAt(sessionId, first))).body).not.toHaveProperty('exitCode');
  expect((await client.post(`${commandAt(sessionId, first)}/input`, { data: 'now' })).status).toBe(204);
  expect((await third).body.stdout).toBe('third\n');
  expect(await jsonLogs(sessionId, first)).toEqual({ output: 'first now\n', stdout: 'first now\n', stderr: '' });
  expect((await jsonLogs(sessionId, await second)).stdout).toBe('second\n');
});

test('input reaches the command that runs, and nothing of it the next', async () => {
  const sessionId = await session();
  const asking = await start(sessionId, 'read a; read b; echo "$a-$b"');
  const input = (data: string) => client.post(`${commandAt(sessionId, asking)}/input`, { data });
  await input('one\n');
  await input('two\nnot read\necho injected\n');
  await exitCode(sessionId, asking).toBe(0);
  expect((await jsonLogs(sessionId, asking)).stdout).toBe('one-two\n');
  expect((await input('late')).status).toBe(400);
  const next = await start(sessionId, 'read c; echo "[$c]"');
  await client.post(`${commandAt(sessionId, next)}/input`, { data: 'fresh' });
  await exitCode(sessionId, next).toBe(0);
  expect((await jsonLogs(sessionId, next)).stdout).toBe('[fresh]\n');
  const big = await start(sessionId, 'head -c 3000001 | wc -c');
  expect((await client.post(`${commandAt(sessionId, big)}/input`, { data: 'x'.repeat(3_000_000) })).status).toBe(204);
  await exitCode(sessionId, big).toBe(0);
  expect((await jsonLogs(sessionId, big)).stdout.trim()).toBe('3000001');
  const { body } = await exec(sessionId, 'true');
  expect((await client.post(`${commandAt(sessionId, body.cmdId)}/input`, { data: 'x' })).status).toBe(400);
});

test('commands sent at once all run, each with its own answer', async () => {
  const sessionId = await session();
  const answers = await Promise.all(Array.from({ length: 40 }, (_, count) => exec(sessionId, `echo ${count}`)));
  expect(answers.map(({ body }) => body.stdout)).toEqual(Array.from({ length: 40 }, (_, count) => `${count}\n`));
});

test('a sandbox has a bounded number of sessions', async () => {
  const snapshot = await lab.server.addSnapshot(lab.organizationId, ash);
  const { body: sandbox } = await client.post('/api/sandbox', { snapshot });
  const answers = [];
  for (let count = 0; count < 65; count += 1) {
    answers.push(await client.post(`/toolbox/${sandbox.id}/process/session`, { sessionId: `many-${count}` }));
  }
  expect(answers.map(({ status }) => status)).toEqual([...Array.from({ length: 64 }, () => 201), 409]);
  expect(answers.at(-1)?.body.message).toContain('The sandbox has 64 sessions');
  await client.delete(`/api/sandbox/${sandbox.id}`);
});

test('a session whose processes were killed in the sandbox says so, and can be deleted', async () => {
  const snapshot = await lab.server.addSnapshot(lab.organizationId, ash);
  const { body: sandbox } = await client.post('/api/sandbox', { snapshot });
  const sessionId = await session(sandbox.id);
  const waiting = exec(sessionId, 'echo waits; sleep 4326', {}, sandbox.id);
  await expect
    .poll(async () => (await execute('ps -o args | grep -c "^sleep 4326"', sandbox.id)).body.result)
    .toBe('1\n');
  await execute('kill -9 -1', sandbox.id);
  expect((await waiting).status).toBe(409);
  expect((await exec(sessionId, 'true', {}, sandbox.id)).body.message).toContain('its processes were killed');
  expect((await client.delete(at(sessionId, sandbox.id))).status).toBe(204);
  await client.delete(`/api/sandbox/${sandbox.id}`);
});

test('logs are JSON for clients that know it, plain text for older ones', async () => {
  const sessionId = await session();
  const { body } = await exec(sessionId, 'echo out; echo err >&2');
  const ask = async (headers: Record<string, string>) => {
    const answer = await client.send('GET', `${commandAt(sessionId, body.cmdId)}/logs`, { headers });
    return [answer.headers.get('content-type')?.split(';')[0], (await answer.text()).length];
  };
  expect(await ask({ 'x-daytona-sdk-version': '0.167.0' })).toEqual(['application/json', 57]);
  expect(await ask({ 'x-daytona-sdk-version': '1.0.0-beta' })).toEqual(['application/json', 57]);
  expect(await ask({ 'x-daytona-sdk-version': '0.166.9' })).toEqual(['text/plain', 8]);
  expect(await ask({})).toEqual(['text/plain', 8]);
  expect(await ask({ accept: 'application/json, text/plain, */*' })).toEqual(['application/json', 57]);
});

test('followers read from the beginning, as many as there are, until the command has ended', async () => {
  const sessionId = await session();
  const command = await start(sessionId, 'echo one; echo two >&2; read go; echo three; echo four >&2; exit 5');
  const path = `${commandAt(sessionId, command)}/logs`;
  const seen = Promise.withResolvers<void>();
  const early = follow(path, () => seen.resolve());
  const other = follow(path);
  await seen.promise;
  await client.post(`${commandAt(sessionId, command)}/input`, { data: 'go' });
  for (const followed of [await early, await other, await follow(path)]) {
    expect(followed.code).toBe(1000);
    expect([textOf(followed, 1), textOf(followed, 2)]).toEqual(['one\nthree\n', 'two\nfour\n']);
  }
  await exitCode(sessionId, command).toBe(5);
  const plain = await client.send('GET', `${path}?follow=true`);
  expect(await plain.text()).toHaveLength('one\ntwo\nthree\nfour\n'.length);
});

test('a huge output is followed whole, in small frames', async () => {
  const sessionId = await session();
  const command = await start(sessionId, 'head -c 20000000 /dev/zero | tr "\\0" x; echo end');
  const followed = await follow(`${commandAt(sessionId, command)}/logs`);
  expect(Math.max(...followed.frames.map(({ length }) => length))).toBeLessThanOrEqual(16 * 1024 + 3);
  const text = textOf(followed, 1);
  expect([text.length, text.slice(-5)]).toEqual([20_000_004, 'xend\n']);
});

test('a follower that does not read holds up nobody, and gets everything when it does', async () => {
  const sessionId = await session();
  const command = await start(sessionId, 'head -c 20000000 /dev/zero | tr "\\0" x');
  const headers = {
    authorization: `Bearer ${lab.apiKey}`,
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'MDEyMzQ1Njc4OWFiY2RlZg==',
  };
  const asked = request(`${lab.server.url}${commandAt(sessionId, command)}/logs?follow=true`, { headers });
  asked.end();
  const { socket, head }: { socket: Socket; head: Buffer } = await new Promise((resolve, reject) => {
    asked.once('upgrade', (_, taken: Socket, first) => resolve({ socket: taken.pause(), head: first }));
    asked.once('error', reject);
  });
  await exitCode(sessionId, command).toBe(0);
  let bytes = head.length;
  for await (const chunk of socket) {
    bytes += chunk.length;
    // Nobody answers the closing frame here.
    if (bytes > 20_000_000) break;
  }
  expect(bytes).toBeGreaterThan(20_000_000);
});

test('what is too much is dropped from the oldest on, with a note, and nothing of it stays on the disk', async () => {
  const sessionId = await session();
  const { body } = await exec(sessionId, 'head -c 60000000 /dev/zero | tr "\\0" x; echo end');
  expect(body.stderr).toMatch(/^\[output truncated: about \d+ earlier bytes were dropped\]\n$/);
  expect(body.stdout.length).toBeGreaterThan(20_000_000);
  expect(body.stdout.length).toBeLessThan(34_000_000);
  expect(body.stdout.endsWith('xend\n')).toBe(true);
  expect((await readdir(lab.server.spoolDirectory)).filter((name) => name.startsWith('output-'))).toEqual([]);
});

test('a thousand commands run in one session, each with its own output', async () => {
  const sessionId = await session();
  for (let count = 0; count < 1000; count += 1) {
    const { body } = await exec(sessionId, `echo ${count}; echo e${count} >&2`);
    expect([body.stdout, body.stderr]).toEqual([`${count}\n`, `e${count}\n`]);
  }
  const { commands } = (await client.get(at(sessionId))).body;
  expect(commands).toHaveLength(1000);
  expect((await jsonLogs(sessionId, commands[500].id)).stdout).toBe('500\n');
}, 60_000);

test('deleting a session answers those who wait and follow', async () => {
  const sessionId = await session();
  const running = await start(sessionId, 'echo begun; sleep 4323');
  const begun = Promise.withResolvers<void>();
  const followed = follow(`${commandAt(sessionId, running)}/logs`, () => begun.resolve());
  await begun.promise;
  const waiting = exec(sessionId, 'echo never');
  await expect.poll(async () => (await client.get(at(sessionId))).body.commands.length).toBe(2);
  expect((await client.delete(at(sessionId))).status).toBe(204);
  expect(await waiting).toMatchObject({ status: 409, body: { message: expect.stringContaining('was deleted') } });
  expect(textOf(await followed, 1)).toBe('begun\n');
});

test('a sandbox that stops takes its sessions along, and answers those who wait', async () => {
  const snapshot = await lab.server.addSnapshot(lab.organizationId, ash);
  const { body: sandbox } = await client.post('/api/sandbox', { snapshot });
  const sessionId = await session(sandbox.id);
  const waiting = exec(sessionId, 'echo waits; sleep 4324', {}, sandbox.id);
  await expect.poll(async () => (await client.get(at(sessionId, sandbox.id))).body.commands.length).toBe(1);
  await client.post(`/api/sandbox/${sandbox.id}/stop?force=true`);
  expect((await waiting).status).toBe(409);
  expect((await client.get(at(sessionId, sandbox.id))).status).toBe(400);
  await client.post(`/api/sandbox/${sandbox.id}/start`);
  expect((await client.get(`/toolbox/${sandbox.id}/process/session`)).body).toEqual([]);
  expect((await exec(await session(sandbox.id), 'echo again', {}, sandbox.id)).body.stdout).toBe('again\n');
  await client.delete(`/api/sandbox/${sandbox.id}`);
});

test('a server that stops ends its sessions and what they started', async () => {
  const snapshot = await lab.server.addSnapshot(lab.organizationId, ash);
  const { body: sandbox } = await client.post('/api/sandbox', { snapshot });
  const sessionId = await session(sandbox.id);
  const running = await start(sessionId, 'echo begun; sleep 4325', sandbox.id);
  const begun = Promise.withResolvers<void>();
  const followed = follow(`${commandAt(sessionId, running, sandbox.id)}/logs`, () => begun.resolve());
  await begun.promise;
  await lab.server.restart();
  expect(textOf(await followed, 1)).toBe('begun\n');
  expect((await client.get(`/toolbox/${sandbox.id}/process/session`)).body).toEqual([]);
  expect((await execute('ps -o args | grep -c "[s]leep 4325"', sandbox.id)).body.result).toBe('0\n');
  await client.delete(`/api/sandbox/${sandbox.id}`);
});

test('the entry point is a session of its own, with what it writes', async () => {
  const image = JSON.stringify({
    cmd: ['sh', '-c', 'echo up; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo down; exit 6'],
  });
  const snapshot = await lab.server.addSnapshot(lab.organizationId, ash, { image });
  const { body: sandbox } = await client.post('/api/sandbox', { snapshot });
  const entrypoint = at('entrypoint', sandbox.id);
  const seen = Promise.withResolvers<void>();
  const followed = follow(`${entrypoint}/logs`, () => seen.resolve());
  await seen.promise;
  const { body } = await client.get(entrypoint);
  expect(body).toEqual({
    sessionId: 'entrypoint',
    commands: [{ id: 'entrypoint', command: expect.stringContaining('echo up') }],
  });
  await execute('touch /tmp/go', sandbox.id);
  const all = await followed;
  expect([textOf(all, 1), all.code]).toEqual(['up\ndown\n', 1000]);
  // The pipe ends a moment before the process does.
  await vi.waitFor(async () => expect((await client.get(entrypoint)).body.commands[0].exitCode).toBe(6));
  expect((await client.get(`${entrypoint}/command/entrypoint`)).body.exitCode).toBe(6);
  expect((await client.get(`${entrypoint}/command/other/logs`)).status).toBe(404);
  expect(await (await client.send('GET', `${entrypoint}/command/entrypoint/logs`)).text()).toBe('up\ndown\n');
  const logs = await client.send('GET', `${entrypoint}/logs`, { headers: { 'x-daytona-sdk-version': '0.190.1' } });
  expect(await logs.json()).toEqual({ output: 'up\ndown\n', stdout: 'up\ndown\n', stderr: '' });
  await client.delete(`/api/sandbox/${sandbox.id}`);
});

test('a sandbox without an entry point has an empty session for it', async () => {
  expect((await client.get(at('entrypoint'))).body).toEqual({ sessionId: 'entrypoint', commands: [] });
  expect((await follow(`${at('entrypoint')}/logs`)).frames).toEqual([]);
});

test('an image without a shell gets a clear refusal', async () => {
  const snapshot = await lab.server.addSnapshot(lab.organizationId, empty, { image: '{}' });
  const { body: bare } = await client.post('/api/sandbox', { snapshot });
  const answer = await client.post(`/toolbox/${bare.id}/process/session`, { sessionId: 'x' });
  expect(answer).toMatchObject({ status: 400, body: { message: expect.stringContaining('has no shell') } });
  await client.delete(`/api/sandbox/${bare.id}`);
});

test('a client that goes away before its command began takes it along; one that has begun goes on', async () => {
  const sessionId = await session();
  const first = await start(sessionId, 'read go; echo done');
  const controller = new AbortController();
  const waiting = fetch(`${lab.server.url}${at(sessionId)}/exec`, {
    method: 'POST',
    headers: { authorization: `Bearer ${lab.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ command: 'touch /tmp/never' }),
    signal: controller.signal,
  });
  await expect.poll(async () => (await client.get(at(sessionId))).body.commands.length).toBe(2);
  controller.abort();
  await expect(waiting).rejects.toThrow();
  await expect.poll(async () => (await client.get(at(sessionId))).body.commands.length).toBe(1);
  await client.post(`${commandAt(sessionId, first)}/input`, { data: 'go' });
  expect((await exec(sessionId, 'ls /tmp/never')).body.exitCode).not.toBe(0);
});
