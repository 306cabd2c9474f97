import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockHolder, tryFileLock, waitForFileLock } from './file-lock.ts';
import { lockStateDir } from './state-lock.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'darkroom-lock-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

test('only one has the lock, and its pid stands in the file', () => {
  const path = join(directory, 'lock');
  const lock = tryFileLock(path);
  expect(lock).toBeDefined();
  expect(tryFileLock(path)).toBeUndefined();
  expect(lockHolder(path)).toBe(process.pid);
  lock?.release();
  const next = tryFileLock(path);
  expect(next).toBeDefined();
  next?.release();
});

test('waiting for a lock ends when it is free, or when the time is over', async () => {
  const path = join(directory, 'lock');
  const lock = tryFileLock(path);
  expect(await waitForFileLock(path, 30)).toBeUndefined();
  const waiting = waitForFileLock(path, 10_000);
  lock?.release();
  const next = await waiting;
  expect(next).toBeDefined();
  next?.release();
});

test('a lock goes with the process that had it, even after kill -9, and while its children live on', async () => {
  const { child, grandchild } = await lockInChild();
  try {
    expect(() => lockStateDir(directory)).toThrow(`already runs in ${directory} (pid ${child.pid})`);
    child.kill('SIGKILL');
    await once(child, 'exit');
    lockStateDir(directory).release();
  } finally {
    process.kill(grandchild, 'SIGKILL');
  }
});

test('a state directory that is made for a server can be walked through by its database user, not read', () => {
  const stateDir = join(directory, 'a', 'b');
  lockStateDir(stateDir).release();
  expect(statSync(stateDir).mode & 0o777).toBe(0o711);
});

test('a state directory that cannot be is refused with the name of the setting', () => {
  const file = join(directory, 'file');
  writeFileSync(file, '');
  expect(() => lockStateDir(join(file, 'x'))).toThrow(/^stateDir: /);
});

async function lockInChild() {
  const program = `
    import { spawn } from 'node:child_process';
    const { lockStateDir } = await import(process.argv[1]);
    lockStateDir(process.argv[2]);
    const child = spawn('sleep', ['60'], { stdio: 'ignore', detached: true });
    child.on('spawn', () => console.log(child.pid));
    setInterval(() => {}, 1000);`;
  const module = fileURLToPath(new URL('./state-lock.ts', import.meta.url));
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, module, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [chunk] = await once(child.stdout, 'data');
  return { child, grandchild: Number(String(chunk)) };
}
