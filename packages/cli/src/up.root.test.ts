import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { detachPool } from '@darkroom/server/machine';
import { afterEach, beforeEach, expect, test } from 'vitest';

/** The whole command: probe, pool, its own mount namespace, the real server. */
const LAUNCHER = fileURLToPath(new URL('../../../bin/darkroom', import.meta.url));
const SYSTEM_NODE = existsSync('/usr/bin/node') ? '/usr/bin/node' : process.execPath;

let stateDir: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'darkroom-up-'));
  // A small pool: tests must not depend on the disk's size.
  writeFileSync(join(stateDir, 'darkroom.yaml'), `pool:\n  maxBytes: ${600 * 1024 * 1024}\n`);
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGTERM');
    await once(child, 'close');
  }
  await detachPool(stateDir);
  rmSync(stateDir, { recursive: true, force: true });
});

const up = (node = process.execPath, ...flags: string[]) => darkroom(node, 'up', '--listen', '127.0.0.1:0', ...flags);

function darkroom(node: string, command: string, ...flags: string[]) {
  const config = ['--config', join(stateDir, 'darkroom.yaml'), '--state-dir', stateDir];
  const child = spawn(node, [LAUNCHER, command, ...config, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  children.push(child);
  const output: string[] = [];
  const listening = new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream).on('line', (line) => {
        output.push(line);
        const url = /^Listening on\s+(\S+)$/.exec(line)?.[1];
        if (url !== undefined) resolve(url);
      });
    }
    child.once('close', () => reject(new Error(`it ended:\n${output.join('\n')}`)));
  });
  listening.catch(() => {});
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, output: output.join('\n') }));
  return { child, listening, ended };
}

const serverPid = () => Number(readFileSync(join(stateDir, 'server.lock'), 'utf8'));

test('it says what it found and where it listens, refuses a second one, and ends on SIGTERM', async () => {
  const { child, listening, ended } = up();
  const url = await listening;
  expect((await fetch(`${url}/health`)).status).toBe(200);
  expect(serverPid()).toBe(child.pid);

  const second = await up().ended;
  expect(second.code).toBe(1);
  expect(second.output).toContain(`already runs in ${stateDir} (pid ${child.pid})`);

  child.kill('SIGTERM');
  const { code, output } = await ended;
  expect(code).toBe(0);
  expect(output).toMatch(/ok {4}overlayfs/);
  expect(output).toContain(join(stateDir, 'credentials.json'));
  expect(output).not.toContain('\u001b[');
  // The stop: nobody has anything to complain about.
  expect(output.slice(output.indexOf('SIGTERM:'))).not.toMatch(/warn|error|connection/i);
});

test('its mounts are in a namespace of its own; only the pool is the host’s', async () => {
  const { listening } = up();
  await listening;
  const own = readFileSync(`/proc/${serverPid()}/mountinfo`, 'utf8');
  const host = readFileSync('/proc/self/mountinfo', 'utf8');
  const under = (text: string) => text.split('\n').filter((line) => line.includes(`${stateDir}/`)).length;
  expect(under(host)).toBe(1);
  expect(under(own)).toBeGreaterThanOrEqual(1);
});

test('started by the machine’s own Node it does the same, and takes the state over after a kill -9', async () => {
  const first = up(SYSTEM_NODE);
  await first.listening;
  process.kill(serverPid(), 'SIGKILL');
  expect(await first.ended).toMatchObject({ signal: 'SIGKILL' });

  const second = up(SYSTEM_NODE);
  expect((await fetch(`${await second.listening}/health`)).status).toBe(200);
  second.child.kill('SIGTERM');
  expect(await second.ended).toMatchObject({ code: 0 });
});

test('without its own database, or its own pool, nothing starts and fsck looks at nothing', async () => {
  const first = up();
  await first.listening;
  first.child.kill('SIGTERM');
  await first.ended;
  const inState = (name: string) => join(stateDir, name);
  const refusedWith = async (message: string) => {
    expect(await up().ended).toMatchObject({ code: 1, output: expect.stringContaining(message) });
    const fsck = await darkroom(process.execPath, 'fsck', '--quick', '--repair').ended;
    expect(fsck).toMatchObject({ code: 2, output: expect.stringContaining(message) });
  };

  renameSync(inState('postgres'), inState('postgres-kept'));
  await refusedWith('the database is not the one that the pool');
  rmSync(inState('postgres'), { recursive: true });
  renameSync(inState('postgres-kept'), inState('postgres'));

  await detachPool(stateDir);
  renameSync(inState('pool.img'), inState('pool.img-kept'));
  await refusedWith('is not the pool that this state directory had');
  expect(existsSync(inState('pool.img'))).toBe(false);
  renameSync(inState('pool.img-kept'), inState('pool.img'));

  const again = up();
  expect((await fetch(`${await again.listening}/health`)).status).toBe(200);
}, 60_000);

test('a machine that is not ready starts nothing and makes nothing', async () => {
  writeFileSync(join(stateDir, 'darkroom.yaml'), 'runtime:\n  crun: no-such-crun\n');
  const { code, output } = await up().ended;
  expect(code).toBe(1);
  expect(output).toMatch(/FAIL {2}crun/);
  expect(readdirSync(stateDir).sort()).toEqual(['darkroom.yaml', 'server.lock']);
});

test('a disk without room for the pool is one clear line', async () => {
  writeFileSync(join(stateDir, 'darkroom.yaml'), `pool:\n  maxBytes: ${2 ** 50}\n`);
  const { code, output } = await up().ended;
  expect(code).toBe(1);
  expect(output).toMatch(/^darkroom: .* MiB free; the pool needs \d+ MiB$/m);
});
