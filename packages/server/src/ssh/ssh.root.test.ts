import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { digestOf, finished, type SshLab, startSshLab } from './testing/ssh-lab.ts';

let lab: SshLab;

beforeAll(async () => {
  lab = await startSshLab();
}, 120_000);
afterEach(() => lab.tidy());
afterAll(() => lab?.stop());

test('a command runs as the user of the sandbox, and its end is that of ssh', async () => {
  expect(await lab.ssh('id -un; pwd; echo $HOME $FROM_IMAGE; echo oops >&2; exit 7')).toMatchObject({
    code: 7,
    stdout: 'app\n/home/app\n/home/app yes\n',
    stderr: 'oops\n',
  });
  expect((await lab.ssh('kill -9 $$')).code).not.toBe(0);
  expect((await lab.ssh('nothing-of-the-kind')).code).toBe(127);
  expect((await lab.ssh('echo $LC_TEST', '', ['-o', 'SetEnv=LC_TEST=given'])).stdout).toBe('given\n');
});

test('megabytes go through both ways unchanged, on both outputs at once', async () => {
  const input = randomBytes(9_000_001);
  const { code, bytes, stderr } = await lab.ssh('tee /tmp/in | cat; head -c 3000000 /tmp/in | base64 >&2', input);
  expect(code).toBe(0);
  expect(digestOf(bytes)).toBe(digestOf(input));
  expect(Buffer.from(stderr, 'base64').equals(input.subarray(0, 3_000_000))).toBe(true);
  const mixed = await lab.ssh(
    'for i in $(seq 40); do head -c 200000 /tmp/in; head -c 100000 /tmp/in | base64 >&2; done',
  );
  expect(mixed.bytes.equals(Buffer.concat(Array.from({ length: 40 }, () => input.subarray(0, 200_000))))).toBe(true);
  const lines = Buffer.from(`${input.subarray(0, 100_000).toString('base64').replace(/.{76}/g, '$&\n')}\n`);
  expect(mixed.stderr).toHaveLength(lines.length * 40);
});

test('a shell without a terminal reads commands from its input', async () => {
  const child = lab.startSsh([], ['-T']);
  expect((await finished(child, 'echo from $0 | tr a-z A-Z\nexit 3\n')).code).toBe(3);
});

test('a shell has a terminal of the size of the client, and what is typed comes back', async () => {
  const child = lab.startSsh([], ['-tt']);
  const shown = child.stdout === null ? Promise.resolve('') : text(child.stdout);
  child.stdin.write('stty size; tty; echo $TERM; exit 5\n');
  const [code] = await once(child, 'close');
  expect(code).toBe(5);
  const lines = (await shown).split('\r\n');
  expect(lines).toContain('/dev/pts/0');
  expect(lines.some((line) => /^\d+ \d+$/.test(line))).toBe(true);
});

test('control-C interrupts the program in the terminal', async () => {
  const child = lab.startSsh(['trap "echo caught; exit 9" INT; echo ready; while :; do sleep 0.1; done'], ['-tt']);
  child.stdout?.once('data', () => child.stdin.write('\x03'));
  const [code] = await once(child, 'close');
  expect(code).toBe(9);
});

test('what a client started ends with it', async () => {
  const child = lab.startSsh(['exec nc -l -p 4599 127.0.0.1']);
  await expect.poll(() => lab.isRunning('nc'), { timeout: 20_000 }).toBe(true);
  child.kill('SIGKILL');
  await expect.poll(() => lab.isRunning('nc'), { timeout: 20_000 }).toBe(false);
});

test('a background process does not hold the client, and lives on', async () => {
  expect(await lab.ssh('nc -l -p 4600 127.0.0.1 & echo started')).toMatchObject({ code: 0, stdout: 'started\n' });
  expect(await lab.isRunning('nc')).toBe(true);
  await lab.ssh('killall nc');
});

test('-L reaches servers of the sandbox on its loopback, also half closed, and no other host', async () => {
  await lab.ssh(
    '(while :; do nc -l -p 4700 -e /bin/sh -c "cat; echo the end" 127.0.0.1 || break; done) >/dev/null 2>&1 &',
  );
  const port = await freePort();
  const child = lab.startSsh([], ['-N', '-L', `${port}:localhost:4700`, '-L', `${await freePort()}:192.0.2.1:80`]);
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
  await lab.ssh('killall nc; true');
  const outside = await finished(lab.startSsh([], ['-W', '192.0.2.1:80']));
  expect(outside.code).not.toBe(0);
  const closed = await finished(lab.startSsh([], ['-W', 'localhost:1']));
  expect(closed.code).not.toBe(0);
});

test('-R and agents are refused, and the command runs all the same', async () => {
  expect(await lab.ssh('echo ran', '', ['-R', '0:localhost:1', '-A'])).toMatchObject({ code: 0, stdout: 'ran\n' });
  const strict = await lab.ssh('echo ran', '', ['-R', '0:localhost:1', '-o', 'ExitOnForwardFailure=yes']);
  expect(strict.code).toBe(255);
});

test('many sessions share one connection', async () => {
  const control = ['-o', 'ControlMaster=auto', '-o', `ControlPath=${join(lab.scratch, 'control')}`];
  const master = lab.startSsh([], [...control, '-N']);
  await expect
    .poll(
      () =>
        stat(join(lab.scratch, 'control')).then(
          () => true,
          () => false,
        ),
      { timeout: 20_000 },
    )
    .toBe(true);
  const all = await Promise.all(Array.from({ length: 30 }, (_, at) => lab.ssh(`echo ${at}; exit ${at}`, '', control)));
  expect(all.map(({ code, stdout }) => [code, stdout])).toEqual(all.map((_, at) => [at, `${at}\n`]));
  master.kill();
});

test('keys are exchanged anew in the middle of a transfer', async () => {
  const input = randomBytes(4_000_000);
  const { bytes } = await lab.ssh('cat', input, ['-o', 'RekeyLimit=500K']);
  expect(bytes.equals(input)).toBe(true);
});

test('noise in place of a greeting, and a client that says nothing, harm nobody', async () => {
  for (const noise of [randomBytes(100_000), Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.from('SSH-2.0-x\r\n\0\0')]) {
    const socket = connect(lab.server.ssh.address.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.end(noise);
    await once(socket.resume(), 'close');
  }
  const silent = connect(lab.server.ssh.address.port, '127.0.0.1');
  await once(silent, 'connect');
  expect((await lab.ssh('echo well')).stdout).toBe('well\n');
  silent.destroy();
});

test('a client that does not read holds up its own program alone, and gets everything in the end', async () => {
  const child = lab.startSsh(['head -c 50000000 /dev/zero; echo done >&2']);
  let done = false;
  child.stderr?.on('data', () => {
    done = true;
  });
  expect((await lab.ssh('echo well')).stdout).toBe('well\n');
  expect(done).toBe(false);
  expect((await finished(child)).bytes.length).toBe(50_000_000);
});

async function freePort(): Promise<number> {
  const listening = createServer().listen(0, '127.0.0.1');
  await once(listening, 'listening');
  const address = listening.address();
  listening.close();
  await once(listening, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}
