import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MIB, openLab, type SandboxLab, shell } from '../testing/sandbox-lab.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab();
  await lab.start('box', { env: { FROM: 'sandbox', BOTH: 'sandbox' } });
});
afterAll(() => lab?.close());

describe('a command', () => {
  test('runs with its user, directory and environment, over those of the sandbox', async () => {
    const user = { uid: 1000, gid: 1000, additionalGids: [4, 27], home: '/home/app', name: 'app' };
    const env = { BOTH: 'command', 'ODD.NAME': 'two\nlines' };
    const { stdout } = await lab.sh('box', 'id -u; id -g; id -G; pwd; echo $HOME $FROM $BOTH', {
      user,
      env,
      cwd: '/tmp',
    });
    expect(stdout).toBe('1000\n1000\n1000 4 27\n/tmp\n/home/app sandbox command\n');
    expect((await lab.sh('box', '', { argv: ['env'], env })).stdout).toContain('ODD.NAME=two\nlines\n');
  });

  test('ends with its exit code, or with 128 and its signal', async () => {
    expect(await lab.sh('box', 'exit 3')).toMatchObject({ exitCode: 3, signal: undefined });
    expect(await lab.sh('box', 'kill -KILL $$')).toMatchObject({ exitCode: 137, signal: 'SIGKILL' });
    expect(await lab.sh('box', 'kill -TERM $$')).toMatchObject({ exitCode: 143, signal: 'SIGTERM' });
  });

  test('that is not there, or cannot be executed, ends as in a shell', async () => {
    expect(await lab.sh('box', '', { argv: ['nosuch'] })).toMatchObject({
      exitCode: 127,
      stderr: 'nosuch: command not found\n',
    });
    expect(await lab.sh('box', '', { argv: ['/no/such'] })).toMatchObject({
      exitCode: 127,
      stderr: '/no/such: no such file\n',
    });
    expect(await lab.sh('box', '', { argv: ['/etc'] })).toMatchObject({
      exitCode: 126,
      stderr: '/etc: is a directory\n',
    });
    expect(await lab.sh('box', '', { argv: ['/etc/passwd'] })).toMatchObject({
      exitCode: 126,
      stderr: '/etc/passwd: permission denied\n',
    });
    expect(await lab.sh('box', '', { argv: ['./sh'], cwd: '/bin' })).toMatchObject({ exitCode: 0 });
  });

  test('that could not be meant is refused before anything runs', async () => {
    for (const changes of [
      { argv: [] },
      { argv: ['a\0b'] },
      { cwd: 'relative' },
      { cwd: '/nowhere' },
      { cwd: '/etc/passwd' },
      { env: { 'A=B': '1' } },
    ]) {
      await expect(lab.sh('box', 'true', changes)).rejects.toMatchObject({ code: 'invalid_request' });
    }
  });

  test('passes bytes through unchanged, in and out', async () => {
    const bytes = randomBytes(3 * MIB);
    const cat = await lab.runtime.exec('box', { ...shell('cat'), argv: ['cat'] });
    const [output] = await Promise.all([buffer(cat.stdout), pipeline(Readable.from([bytes]), cat.stdin), cat.exited]);
    expect(output.equals(bytes)).toBe(true);
  });

  test('can open its own output again by name', async () => {
    const user = { uid: 1000, gid: 1000, additionalGids: [], home: '/home/app', name: 'app' };
    expect(await lab.sh('box', 'echo out > /dev/stdout; echo err > /dev/stderr', { user })).toMatchObject({
      stdout: 'out\n',
      stderr: 'err\n',
    });
  });

  test('may end without reading its input', async () => {
    const process = await lab.runtime.exec('box', shell('exec 0<&-; exit 0'));
    process.stdin.write(Buffer.alloc(MIB));
    process.stdout.resume();
    process.stderr.resume();
    expect(await process.exited).toMatchObject({ exitCode: 0 });
  });

  test('ends although something that it left behind holds its output open', async () => {
    const process = await lab.runtime.exec('box', shell('sleep 1000 & echo done'));
    const first = new Promise((resolve) => process.stdout.once('data', resolve));
    expect(String(await first)).toBe('done\n');
    expect(await process.exited).toMatchObject({ exitCode: 0 });
    process.stdout.destroy();
  });

  test('leaves no file of its description behind', async () => {
    await lab.sh('box', 'true');
    const files = await readdir(join(lab.runDir, 'containers', 'box'));
    expect(files.filter((name) => name.startsWith('exec-'))).toEqual([]);
  });
});

describe('output', () => {
  test('of any size goes through without filling the server’s memory', async () => {
    const process = await lab.runtime.exec('box', shell('head -c 419430400 /dev/zero'));
    let size = 0;
    let most = 0;
    const before = memory();
    for await (const chunk of process.stdout) {
      size += (chunk as Buffer).length;
      most = Math.max(most, memory() - before);
    }
    await process.exited;
    expect(size).toBe(400 * MIB);
    expect(most).toBeLessThan(150 * MIB);
  });

  test('that nobody reads waits in the pipe', async () => {
    const process = await lab.runtime.exec('box', shell('yes; echo unreachable'));
    const seen = new Promise((resolve) => process.stdout.once('readable', resolve));
    await seen;
    const before = memory();
    await lab.sh('box', 'sleep 0.3');
    expect(memory() - before).toBeLessThan(20 * MIB);
    await process.killTree();
    expect(await process.exited).toMatchObject({ exitCode: 137 });
    process.stdout.destroy();
  });
});

describe('killTree', () => {
  test('ends the command and what it started, also in other sessions and without a parent', async () => {
    const script = `
      setsid sh -c 'setsid sleep 2001 & sleep 2002 & wait' &
      (setsid sh -c '(sleep 2003 &) ; exit' &)
      trap '' TERM INT HUP
      echo ready
      sleep 2004 &
      while :; do sleep 1; done`;
    const process = await lab.runtime.exec('box', shell(script));
    const output = text(process.stdout);
    const all = ['sleep 2001', 'sleep 2002', 'sleep 2003', 'sleep 2004'];
    for (let seen = ''; !all.every((name) => new RegExp(`^${name}`, 'm').test(seen)); ) {
      seen = (await lab.sh('box', 'ps -o args')).stdout;
    }
    await process.killTree();
    expect(await process.exited).toMatchObject({ exitCode: 137, signal: 'SIGKILL' });
    expect((await lab.sh('box', 'ps -o args | grep "[s]leep 200"')).stdout).toBe('');
    expect(await output).toBe('ready\n');
  });

  test('gets the better of a fork bomb, and harms nothing else in the sandbox', async () => {
    const bystander = await lab.runtime.exec('box', shell('echo here; read line; echo $line'));
    await new Promise((resolve) => bystander.stdout.once('data', resolve));
    const bomb = await lab.runtime.exec('box', shell('b() { b | b & }; b; sleep 1000'));
    bomb.stdout.resume();
    bomb.stderr.resume();
    await new Promise((resolve) => setTimeout(resolve, 300));
    await bomb.killTree();
    await bomb.exited;
    const rest = text(bystander.stdout);
    bystander.stdin.end('alive\n');
    expect(await rest).toBe('alive\n');
    expect(await lab.sh('box', 'ps | wc -l')).toMatchObject({ exitCode: 0 });
  });

  test('at any moment of a start ends it, also while crun is on its way into the sandbox', async () => {
    for (let moment = 0; moment < 48; moment += 1) {
      const process = await lab.runtime.exec('box', shell('sleep 1003'));
      const until = performance.now() + (moment % 12);
      while (performance.now() < until);
      await process.killTree();
      expect((await process.exited).exitCode).toBe(137);
    }
    expect((await lab.sh('box', 'ps | grep "[s]leep 1003"')).stdout).toBe('');
  });

  test('at once after the start, twice, and after the end does no harm', async () => {
    const process = await lab.runtime.exec('box', shell('sleep 1000'));
    await Promise.all([process.killTree(), process.killTree()]);
    expect((await process.exited).exitCode).toBe(137);
    await process.killTree();
  });
});

test('a command in a sandbox that is stopped meanwhile ends', async () => {
  await lab.start('short');
  const process = await lab.runtime.exec('short', shell('echo up; sleep 1000'));
  await new Promise((resolve) => process.stdout.once('data', resolve));
  await lab.runtime.stop('short', { graceMs: 0 });
  expect(await process.exited).toMatchObject({ exitCode: 137 });
  expect(existsSync(join(lab.runDir, 'containers', 'short'))).toBe(false);
});

describe('users', () => {
  test('are those of the sandbox’s own passwd and group', async () => {
    await lab.sh('box', 'echo "team:x:50:app,other" >> /etc/group');
    const app = { uid: 1000, gid: 1000, home: '/home/app', name: 'app' };
    expect(await lab.runtime.resolveUser('box', '')).toMatchObject({ uid: 0, gid: 0, home: '/root', name: 'root' });
    expect(await lab.runtime.resolveUser('box', 'app')).toEqual({ ...app, additionalGids: [50] });
    expect(await lab.runtime.resolveUser('box', '1000')).toEqual({ ...app, additionalGids: [50] });
    expect(await lab.runtime.resolveUser('box', 'app:team')).toEqual({ ...app, gid: 50, additionalGids: [] });
    expect(await lab.runtime.resolveUser('box', '77:88')).toEqual({
      uid: 77,
      gid: 88,
      additionalGids: [],
      home: '/',
      name: '77',
    });
    expect(await lab.runtime.resolveUser('box', 'nobody-here')).toBeUndefined();
  });

  test('are none when passwd is a device, a link out of the sandbox, or endless', async () => {
    await lab.start('hostile');
    await lab.sh('hostile', 'rm /etc/passwd; ln -s /dev/zero /etc/passwd');
    expect(await lab.runtime.resolveUser('hostile', 'app')).toBeUndefined();
    await lab.sh('hostile', 'rm /etc/passwd; mkfifo /etc/passwd');
    expect(await lab.runtime.resolveUser('hostile', 'app')).toBeUndefined();
    await lab.sh('hostile', 'rm /etc/passwd; ln -s ../../../../../../etc/shadow /etc/passwd');
    expect(await lab.runtime.resolveUser('hostile', 'daemon')).toBeUndefined();
    await lab.sh('hostile', 'rm /etc/passwd; truncate -s 1T /etc/passwd');
    expect(await lab.runtime.resolveUser('hostile', 'app')).toBeUndefined();
  });
});

function memory(): number {
  const { arrayBuffers, external, heapUsed } = process.memoryUsage();
  return arrayBuffers + external + heapUsed;
}
