import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type HttpClient, httpClient } from '../test-support/http-client.ts';
import { fillWithBusybox, shiftOwners } from '../test-support/root-file-system.ts';
import { startTestServer, TEST_ID_BASE, type TestServer } from '../test-support/test-server.ts';
import { packet, REQUEST, RESPONSE, STATUS, string, uint32 } from './sftp/wire.ts';

let server: TestServer;
let client: HttpClient;
let organizationId: string;
let snapshot: string;
let id: string;
let token: string;
let scratch: string;
const children = new Set<ChildProcess>();

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'darkroom-ssh-'));
  server = await startTestServer();
  organizationId = await server.addOrganization();
  client = httpClient(() => server.url, await server.addKey(organizationId));
  const busybox = {
    name: 'busybox',
    fill: (directory: string) => fillWithBusybox(directory).then(() => shiftOwners(directory, TEST_ID_BASE)),
  };
  const image = JSON.stringify({ env: ['FROM_IMAGE=yes'], user: 'app', workingDir: '/home/app' });
  snapshot = await server.addSnapshot(organizationId, busybox, { image });
  id = (await client.post('/api/sandbox', { snapshot })).body.id;
  token = (await newAccess()).token;
  const known = `[127.0.0.1]:${server.ssh.address.port} ${server.ssh.hostKey.publicKey}\n`;
  await writeFile(join(scratch, 'known_hosts'), known);
}, 120_000);
afterEach(() => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
});
afterAll(async () => {
  await server?.stop();
  await rm(scratch, { recursive: true, force: true });
});

const newAccess = async (query = '', sandbox = id) =>
  (await client.post(`/api/sandbox/${sandbox}/ssh-access${query}`)).body;

/** The host key is checked; nothing of the machine's own settings is used. */
const options = () => [
  ...['-F', 'none', '-o', `UserKnownHostsFile=${join(scratch, 'known_hosts')}`, '-o', 'StrictHostKeyChecking=yes'],
  ...['-o', 'BatchMode=yes', '-o', 'IdentitiesOnly=yes', '-o', 'IdentityAgent=none', '-o', 'LogLevel=ERROR'],
];

function start(program: string, args: readonly string[]): ChildProcess & { stdin: NonNullable<ChildProcess['stdin']> } {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  children.add(child);
  child.once('close', () => children.delete(child));
  return child;
}

async function finished(child: ChildProcess, input: Buffer | string = '') {
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  const pieces: Buffer[] = [];
  child.stdout?.on('data', (piece: Buffer) => pieces.push(piece));
  const errors = child.stderr === null ? Promise.resolve('') : text(child.stderr);
  const [code] = await once(child, 'close');
  const stdout = Buffer.concat(pieces);
  return { code, bytes: stdout, stdout: stdout.toString('utf8'), stderr: await errors };
}

const startSsh = (command: readonly string[], more: readonly string[] = [], as = token) =>
  start('ssh', [...options(), ...more, '-p', `${server.ssh.address.port}`, `${as}@127.0.0.1`, ...command]);
const ssh = (command: string, input: Buffer | string = '', more: readonly string[] = []) =>
  finished(startSsh([command], more), input);
const scp = (...args: string[]) => finished(start('scp', [...options(), '-P', `${server.ssh.address.port}`, ...args]));
const sftp = (batch: string) =>
  finished(start('sftp', [...options(), '-b', '-', '-P', `${server.ssh.address.port}`, `${token}@127.0.0.1`]), batch);
const remote = (path: string) => `${token}@127.0.0.1:${path}`;
const isRunning = async (name: string) => (await ssh(`pidof ${name}`)).code === 0;
const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

test('a command runs as the user of the sandbox, and its end is that of ssh', async () => {
  expect(await ssh('id -un; pwd; echo $HOME $FROM_IMAGE; echo oops >&2; exit 7')).toMatchObject({
    code: 7,
    stdout: 'app\n/home/app\n/home/app yes\n',
    stderr: 'oops\n',
  });
  expect((await ssh('kill -9 $$')).code).not.toBe(0);
  expect((await ssh('nothing-of-the-kind')).code).toBe(127);
  expect((await ssh('echo $LC_TEST', '', ['-o', 'SetEnv=LC_TEST=given'])).stdout).toBe('given\n');
});

test('megabytes go through both ways unchanged, on both outputs at once', async () => {
  const input = randomBytes(9_000_001);
  const { code, bytes, stderr } = await ssh('tee /tmp/in | cat; head -c 3000000 /tmp/in | base64 >&2', input);
  expect(code).toBe(0);
  expect(digestOf(bytes)).toBe(digestOf(input));
  expect(Buffer.from(stderr, 'base64').equals(input.subarray(0, 3_000_000))).toBe(true);
  const mixed = await ssh('for i in $(seq 40); do head -c 200000 /tmp/in; head -c 100000 /tmp/in | base64 >&2; done');
  expect(mixed.bytes.equals(Buffer.concat(Array.from({ length: 40 }, () => input.subarray(0, 200_000))))).toBe(true);
  const lines = Buffer.from(`${input.subarray(0, 100_000).toString('base64').replace(/.{76}/g, '$&\n')}\n`);
  expect(mixed.stderr).toHaveLength(lines.length * 40);
});

test('a shell without a terminal reads commands from its input', async () => {
  const child = startSsh([], ['-T']);
  expect((await finished(child, 'echo from $0 | tr a-z A-Z\nexit 3\n')).code).toBe(3);
});

test('a shell has a terminal of the size of the client, and what is typed comes back', async () => {
  const child = startSsh([], ['-tt']);
  const shown = child.stdout === null ? Promise.resolve('') : text(child.stdout);
  child.stdin.write('stty size; tty; echo $TERM; exit 5\n');
  const [code] = await once(child, 'close');
  expect(code).toBe(5);
  const lines = (await shown).split('\r\n');
  expect(lines).toContain('/dev/pts/0');
  expect(lines.some((line) => /^\d+ \d+$/.test(line))).toBe(true);
});

test('control-C interrupts the program in the terminal', async () => {
  const child = startSsh(['trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.1; done'], ['-tt']);
  child.stdout?.once('data', () => child.stdin.write('\x03'));
  const [code] = await once(child, 'close');
  expect(code).toBe(9);
});

test('what a client started ends with it', async () => {
  const child = startSsh(['exec nc -l -p 4599 127.0.0.1']);
  await expect.poll(() => isRunning('nc'), { timeout: 20_000 }).toBe(true);
  child.kill('SIGKILL');
  await expect.poll(() => isRunning('nc'), { timeout: 20_000 }).toBe(false);
});

test('a background process does not hold the client, and lives on', async () => {
  expect(await ssh('nc -l -p 4600 127.0.0.1 & echo started')).toMatchObject({ code: 0, stdout: 'started\n' });
  expect(await isRunning('nc')).toBe(true);
  await ssh('killall nc');
});

test('scp copies both ways, whole trees, and as old clients do it', async () => {
  const content = randomBytes(5_000_000);
  const tree = join(scratch, 'tree');
  await mkdir(join(tree, 'deep'), { recursive: true });
  await writeFile(join(tree, 'deep', 'file ü.bin'), content);
  await writeFile(join(tree, 'script'), '#!/bin/sh\necho ran\n');
  await chmod(join(tree, 'script'), 0o750);
  expect(await scp('-r', '-p', tree, remote('copied'))).toMatchObject({ code: 0, stderr: '' });
  expect((await ssh('stat -c "%a %U" copied/script; copied/script')).stdout).toBe('750 app\nran\n');
  expect((await ssh('sha256sum < "copied/deep/file ü.bin"')).stdout.slice(0, 64)).toBe(digestOf(content));
  expect(await scp('-r', remote('copied'), join(scratch, 'back'))).toMatchObject({ code: 0, stderr: '' });
  expect(digestOf(await readFile(join(scratch, 'back', 'deep', 'file ü.bin')))).toBe(digestOf(content));
  expect(await scp(remote('/no/where'), join(scratch, 'none'))).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('No such file'),
  });
  // Old clients run scp in the sandbox, which this image lacks.
  expect((await scp('-O', join(tree, 'script'), remote('old'))).code).not.toBe(0);
});

test('sftp does what people do with files', async () => {
  const content = randomBytes(3_000_000);
  await writeFile(join(scratch, 'up.bin'), content);
  await symlink('up.bin', join(scratch, 'link'));
  const batch = [
    'pwd',
    'mkdir work',
    'cd work',
    `put ${join(scratch, 'up.bin')} a`,
    'chmod 600 a',
    'ls -la',
    'symlink a alias',
    'rename a b',
    'ln -s /etc/passwd outside',
    `put ${join(scratch, 'up.bin')} c`,
    'rename b c',
    `get c ${join(scratch, 'down.bin')}`,
    'rm alias',
    'mkdir empty',
    'rmdir empty',
    `get -p outside ${join(scratch, 'passwd')}`,
  ];
  const done = await sftp(`${batch.join('\n')}\n`);
  expect(done.stderr).toBe('');
  expect(done.code).toBe(0);
  expect(done.stdout).toContain('Remote working directory: /home/app');
  expect(done.stdout).toMatch(/-rw------- .* app +app +3000000 .* a\n/);
  expect((await readFile(join(scratch, 'down.bin'))).equals(content)).toBe(true);
  expect(await readFile(join(scratch, 'passwd'), 'utf8')).toContain('app:x:1000');
  expect((await ssh('ls -A work; readlink work/outside')).stdout).toBe('c\noutside\n/etc/passwd\n');
});

test.each([
  ['rmdir work-full', 'work-full'],
  ['rm missing', 'missing'],
  ['mkdir work-full', 'work-full'],
  ['get /etc', 'etc'],
  ['cd missing', 'No such file'],
])('%s fails with words', async (command, word) => {
  await ssh('mkdir -p work-full; touch work-full/file');
  const failed = await sftp(`${command}\n`);
  expect(failed.code).toBe(1);
  expect(failed.stderr).toContain(word);
});

test('files of an image without any program can be worked with, and the lack of a shell is told', async () => {
  const empty = await server.addSnapshot(organizationId, {
    name: 'empty',
    fill: (directory) => shiftOwners(directory, TEST_ID_BASE).catch(() => {}),
  });
  const bare = (await client.post('/api/sandbox', { snapshot: empty })).body.id;
  const { token: own } = await newAccess('', bare);
  await writeFile(join(scratch, 'small'), 'content');
  const copied = join(scratch, 'small-back');
  expect(await scp(join(scratch, 'small'), `${own}@127.0.0.1:/small`)).toMatchObject({ code: 0, stderr: '' });
  expect(await scp(`${own}@127.0.0.1:small`, copied)).toMatchObject({ code: 0, stderr: '' });
  expect(await readFile(copied, 'utf8')).toBe('content');
  const refused = await finished(startSsh(['id'], [], own));
  expect(refused).toMatchObject({ code: 255, stderr: expect.stringContaining('no shell') });
  await client.delete(`/api/sandbox/${bare}`);
});

test('requests of sftp that are none are answered or end it, and nothing else', async () => {
  const init = packet(REQUEST.INIT, uint32(3));
  const talk = async (...packets: Buffer[]) =>
    (await finished(startSsh(['sftp'], ['-s']), Buffer.concat([init, ...packets]))).bytes;
  const codeOf = (bytes: Buffer) => {
    const version = bytes.readUInt32BE(0) + 4;
    expect(bytes[4]).toBe(RESPONSE.VERSION);
    if (bytes.length === version) return 'ended';
    expect(bytes[version + 4]).toBe(RESPONSE.STATUS);
    return bytes.readUInt32BE(version + 9);
  };
  const handle = string(Buffer.from('made up'));
  expect(codeOf(await talk(packet(99, uint32(1))))).toBe(STATUS.OP_UNSUPPORTED);
  expect(codeOf(await talk(packet(REQUEST.READ, uint32(1), handle, uint32(0))))).toBe(STATUS.BAD_MESSAGE);
  expect(codeOf(await talk(packet(REQUEST.WRITE, uint32(1), handle, Buffer.alloc(12))))).toBe(STATUS.BAD_MESSAGE);
  expect(codeOf(await talk(packet(REQUEST.CLOSE, uint32(1), handle)))).toBe(STATUS.BAD_MESSAGE);
  expect(codeOf(await talk(packet(REQUEST.STAT, uint32(1), string(Buffer.from('a\0b')))))).toBe(STATUS.FAILURE);
  expect(codeOf(await talk(packet(REQUEST.OPEN, uint32(1), uint32(0xffffffff))))).toBe(STATUS.BAD_MESSAGE);
  expect(codeOf(await talk(packet(REQUEST.READ)))).toBe('ended');
  expect(codeOf(await talk(Buffer.alloc(4, 0xff)))).toBe('ended');
  expect((await ssh('echo well')).stdout).toBe('well\n');
});

test('-L reaches servers of the sandbox on its loopback, also half closed, and no other host', async () => {
  await ssh('(while :; do nc -l -p 4700 -e /bin/sh -c "cat; echo the end" 127.0.0.1 || break; done) >/dev/null 2>&1 &');
  const port = await freePort();
  const child = startSsh([], ['-N', '-L', `${port}:localhost:4700`, '-L', `${await freePort()}:192.0.2.1:80`]);
  const content = randomBytes(2_000_000);
  const ask = async () => {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
    socket.end(content);
    const pieces: Buffer[] = [];
    try {
      for await (const piece of socket) pieces.push(piece);
    } catch {
      // Not open yet.
    }
    return Buffer.concat(pieces);
  };
  // Between two clients the server is not there for a moment.
  const answered = async () => {
    let answer = Buffer.alloc(0);
    await expect
      .poll(
        async () => {
          answer = await ask();
          return answer.length;
        },
        { timeout: 20_000 },
      )
      .toBeGreaterThan(0);
    return answer;
  };
  for (const answer of [await answered(), await answered()]) {
    expect(answer.length).toBe(content.length + 8);
    expect(digestOf(answer.subarray(0, content.length))).toBe(digestOf(content));
  }
  child.kill();
  await ssh('killall nc; true');
  const outside = await finished(startSsh([], ['-W', '192.0.2.1:80']));
  expect(outside.code).not.toBe(0);
  const closed = await finished(startSsh([], ['-W', 'localhost:1']));
  expect(closed.code).not.toBe(0);
});

test('-R and agents are refused, and the command runs all the same', async () => {
  expect(await ssh('echo ran', '', ['-R', '0:localhost:1', '-A'])).toMatchObject({ code: 0, stdout: 'ran\n' });
  const strict = await ssh('echo ran', '', ['-R', '0:localhost:1', '-o', 'ExitOnForwardFailure=yes']);
  expect(strict.code).toBe(255);
});

test('many sessions share one connection', async () => {
  const control = ['-o', 'ControlMaster=auto', '-o', `ControlPath=${join(scratch, 'control')}`];
  const master = startSsh([], [...control, '-N']);
  await expect
    .poll(
      () =>
        stat(join(scratch, 'control')).then(
          () => true,
          () => false,
        ),
      { timeout: 20_000 },
    )
    .toBe(true);
  const all = await Promise.all(Array.from({ length: 30 }, (_, at) => ssh(`echo ${at}; exit ${at}`, '', control)));
  expect(all.map(({ code, stdout }) => [code, stdout])).toEqual(all.map((_, at) => [at, `${at}\n`]));
  master.kill();
});

test('keys are exchanged anew in the middle of a transfer', async () => {
  const input = randomBytes(4_000_000);
  const { bytes } = await ssh('cat', input, ['-o', 'RekeyLimit=500K']);
  expect(bytes.equals(input)).toBe(true);
});

test('wrong, expired and revoked tokens open nothing', async () => {
  const refused = { code: 255, stderr: expect.stringContaining('Permission denied') };
  expect(await finished(startSsh(['id'], [], 'a'.repeat(48)))).toMatchObject(refused);
  const { token: brief, id: access } = await newAccess('?expiresInMinutes=60');
  const past = new Date(Date.now() - 1000);
  await server.db.updateTable('ssh_accesses').set({ expires_at: past }).where('id', '=', access).execute();
  expect(await finished(startSsh(['id'], [], brief))).toMatchObject(refused);
});

test('a revoked token ends its connections at once, and others stay', async () => {
  const { token: revoked } = await newAccess();
  const child = startSsh(['echo ready; exec sleep 1000'], [], revoked);
  const closed = once(child, 'close');
  const other = startSsh(['echo ready; exec cat']);
  await Promise.all([child, other].map(({ stdout }) => stdout && once(stdout, 'data')));
  const answer = await client.delete(`/api/sandbox/${id}/ssh-access?token=${revoked}`);
  expect(answer).toMatchObject({ status: 200, body: { id } });
  const [code] = await closed;
  expect(code).toBe(255);
  expect((await client.get(`/api/sandbox/ssh-access/validate?token=${revoked}`)).body.valid).toBe(false);
  expect((await finished(other, 'still here')).code).toBe(0);
});

test('a connection ends when its token runs out', async () => {
  const { token: brief } = await newAccess('?expiresInMinutes=0.05');
  const child = startSsh(['exec sleep 1000'], [], brief);
  const [code] = await once(child, 'close');
  expect(code).toBe(255);
});

test('a sandbox that does not run says so', async () => {
  const other = (await client.post('/api/sandbox', { snapshot })).body.id;
  const { token: own } = await newAccess('', other);
  await client.post(`/api/sandbox/${other}/stop`);
  const refused = await finished(startSsh(['id'], [], own));
  expect(refused).toMatchObject({ code: 255, stderr: expect.stringContaining('its state is stopped') });
  await client.post(`/api/sandbox/${other}/start`);
  expect((await finished(startSsh(['id -un'], [], own))).stdout).toBe('app\n');
  await client.delete(`/api/sandbox/${other}`);
  expect((await finished(startSsh(['id'], [], own))).stderr).toContain('Permission denied');
});

test('the Python clients revoke one token by the header of the organization, and no other header passes', async () => {
  const [first, second] = [await newAccess(), await newAccess()];
  const path = `/api/sandbox/${id}/ssh-access`;
  const revoke = (header: string) => client.send('DELETE', path, { headers: { 'x-daytona-organization-id': header } });
  expect((await revoke(crypto.randomUUID())).status).toBe(403);
  expect((await revoke(first.token)).status).toBe(200);
  const validate = async (token: string) => (await client.get(`/api/sandbox/ssh-access/validate?token=${token}`)).body;
  expect([(await validate(first.token)).valid, (await validate(second.token)).valid]).toEqual([false, true]);
});

test('tokens belong to one organization, and bad requests are refused', async () => {
  expect((await client.get(`/api/sandbox/ssh-access/validate?token=${token}`)).body).toEqual({
    valid: true,
    sandboxId: id,
  });
  const stranger = httpClient(() => server.url, await server.addKey(await server.addOrganization()));
  expect((await stranger.get(`/api/sandbox/ssh-access/validate?token=${token}`)).body).toEqual({
    valid: false,
    sandboxId: '',
  });
  expect((await stranger.post(`/api/sandbox/${id}/ssh-access`)).status).toBe(404);
  expect((await stranger.delete(`/api/sandbox/${id}/ssh-access?token=${token}`)).status).toBe(404);
  expect((await client.post(`/api/sandbox/${id}/ssh-access?expiresInMinutes=0`)).status).toBe(400);
  expect((await client.post(`/api/sandbox/${id}/ssh-access?expiresInMinutes=x`)).status).toBe(400);
  const { sshCommand, expiresAt } = await newAccess('?expiresInMinutes=10');
  expect(sshCommand).toMatch(new RegExp(`^ssh -p ${server.ssh.address.port} [0-9a-f]{48}@127\\.0\\.0\\.1$`));
  expect(new Date(expiresAt).getTime() - Date.now()).toBeLessThanOrEqual(600_000);
});

test('noise in place of a greeting, and a client that says nothing, harm nobody', async () => {
  for (const noise of [randomBytes(100_000), Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.from('SSH-2.0-x\r\n\0\0')]) {
    const socket = connect(server.ssh.address.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.end(noise);
    await once(socket.resume(), 'close');
  }
  const silent = connect(server.ssh.address.port, '127.0.0.1');
  await once(silent, 'connect');
  expect((await ssh('echo well')).stdout).toBe('well\n');
  silent.destroy();
});

test('a client that does not read holds up its own program alone, and gets everything in the end', async () => {
  const child = startSsh(['head -c 50000000 /dev/zero; echo done >&2']);
  let done = false;
  child.stderr?.on('data', () => {
    done = true;
  });
  expect((await ssh('echo well')).stdout).toBe('well\n');
  expect(done).toBe(false);
  expect((await finished(child)).bytes.length).toBe(50_000_000);
});

test('a stop of the sandbox ends its sessions', async () => {
  const other = (await client.post('/api/sandbox', { snapshot })).body.id;
  const { token: own } = await newAccess('', other);
  const child = startSsh(['echo ready; exec sleep 1000'], [], own);
  const closed = once(child, 'close');
  if (child.stdout) await once(child.stdout, 'data');
  await client.post(`/api/sandbox/${other}/stop?force=true`);
  const [code] = await closed;
  expect(code).not.toBe(0);
  await client.delete(`/api/sandbox/${other}`);
});

test('a connection counts as use of the sandbox', async () => {
  const create = async (): Promise<string> => (await client.post('/api/sandbox', { snapshot })).body.id;
  const [used, unused] = await Promise.all([create(), create()]);
  const child = startSsh(['echo ready; exec sleep 1000'], [], (await newAccess('', used)).token);
  if (child.stdout) await once(child.stdout, 'data');
  await server.db
    .updateTable('sandboxes')
    .set({ last_activity_at: new Date(Date.now() - 3_600_000), auto_stop_interval: 1 })
    .where('id', 'in', [used, unused])
    .execute();
  // One that is due at once makes the server look at all of them.
  const third = await create();
  await client.post(`/api/sandbox/${third}/stop`);
  await client.post(`/api/sandbox/${third}/autodelete/0`);
  const stateOf = async (sandbox: string) => (await client.get(`/api/sandbox/${sandbox}`)).body.state;
  await expect.poll(() => stateOf(unused), { timeout: 30_000 }).toBe('stopped');
  expect(await stateOf(used)).toBe('started');
  child.kill();
  for (const sandbox of [used, unused]) await client.delete(`/api/sandbox/${sandbox}`);
});

test('tokens and the host key outlive the server, whose stop ends every connection', async () => {
  const before = server.ssh.hostKey.fingerprint;
  const forwarding = connect(server.ssh.address.port, '127.0.0.1');
  await once(forwarding, 'connect');
  forwarding.on('error', () => {});
  const gone = once(forwarding.resume(), 'close');
  await server.restart();
  await gone;
  expect(server.ssh.hostKey.fingerprint).toBe(before);
  const known = `[127.0.0.1]:${server.ssh.address.port} ${server.ssh.hostKey.publicKey}\n`;
  await writeFile(join(scratch, 'known_hosts'), known);
  const child = startSsh(['echo ready; exec sleep 1000']);
  const closed = once(child, 'close');
  if (child.stdout) await once(child.stdout, 'data');
  await server.restart();
  const [code] = await closed;
  expect(code).toBe(255);
});

test('many wrong tokens close the door for a while, for their address', async () => {
  for (let left = 12; left > 0; left--) await finished(startSsh(['id'], [], 'b'.repeat(48)));
  const refused = await finished(startSsh(['id']));
  expect(refused.code).toBe(255);
  expect(refused.stderr).not.toContain('Permission denied');
});

async function freePort(): Promise<number> {
  const listening = createServer().listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const address = listening.address();
  listening.close();
  await once(listening, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
