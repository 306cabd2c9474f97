import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, describe, expect, test } from 'vitest';
import { createExitWatcher } from './exit-watcher.ts';
import { pipe } from './libc-files.ts';
import { pidfdOpen, pidfdSignal } from './libc-process.ts';
import { spawnProcess } from './spawned-process.ts';

const watcher = createExitWatcher();
afterAll(() => watcher.close());

function shell(script: string, env: Record<string, string> = {}) {
  const input = pipe();
  const output = pipe();
  const child = spawnProcess(watcher, {
    path: '/bin/sh',
    argv: ['sh', '-c', script],
    env,
    stdio: [input.read, output.write, output.write],
  });
  for (const fd of [input.read, input.write, output.write]) closeSync(fd);
  return { child, output: text(new Socket({ fd: output.read, readable: true, writable: false })) };
}

describe('a spawned process', () => {
  test('ends with its exit code, or with 128 and its signal', async () => {
    expect(await shell('exit 7').child.exited).toEqual({ exitCode: 7, signal: undefined });
    expect(await shell('kill -9 $$').child.exited).toEqual({ exitCode: 137, signal: 9 });
  });

  test('has its environment and three descriptors, a session of its own, and no signal ignored', async () => {
    const { output } = shell(
      'echo $A; ls /proc/$$/fd | tr "\\n" " "; grep -E "SigIgn|SigBlk" /proc/self/status; true',
      { A: 'b c', PATH: '/usr/bin:/bin' },
    );
    expect(await output).toMatch(/^b c\n(\d+ )+SigBlk:\t0+\nSigIgn:\t0+\n$/);
    expect(
      (await shell('exec 3>&-; ls /proc/$$/fd; true', { PATH: '/usr/bin:/bin' }).output).trim().split('\n').slice(0, 3),
    ).toEqual(['0', '1', '2']);
  });

  test('of a program that is not there raises at once', () => {
    const { read, write } = pipe();
    const spec = { path: '/no/such', argv: ['x'], env: {}, stdio: [read, write, write] as const };
    expect(() => spawnProcess(watcher, spec)).toThrow(/cannot be started/);
    closeSync(read);
    closeSync(write);
  });
});

describe('the exit watcher', () => {
  test('tells of many ends, each once', async () => {
    const children = Array.from({ length: 40 }, (_, i) => shell(`exit ${i}`).child);
    expect((await Promise.all(children.map(({ exited }) => exited))).map(({ exitCode }) => exitCode)).toEqual(
      Array.from({ length: 40 }, (_, i) => i),
    );
  });

  test('tells of a process that is not ours to reap, and of nothing after it was told to stop', async () => {
    const { child } = shell('exec sleep 1000');
    const told: string[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    watcher.watch(pidfdOpen(child.pid), () => {
      told.push('watched');
      resolve();
    });
    const stop = watcher.watch(pidfdOpen(child.pid), () => told.push('stopped'));
    stop();
    const pidfd = pidfdOpen(child.pid);
    expect(pidfdSignal(pidfd, 9)).toBe(true);
    await Promise.all([promise, child.exited]);
    expect(pidfdSignal(pidfd, 0)).toBe(false);
    closeSync(pidfd);
    expect(told).toEqual(['watched']);
  });

  test('can be closed twice', async () => {
    const other = createExitWatcher();
    await other.close();
    await other.close();
  });
});
