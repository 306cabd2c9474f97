import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

vi.setConfig({ testTimeout: 30_000 });

/** bin/darkroom in a tree of its own, with a small program where the command is: what is tried is the handing over. */
let tree: string;
const children: ChildProcess[] = [];

const LAUNCHER = fileURLToPath(new URL('../../../bin/darkroom', import.meta.url));
const PINNED = realpathSync(join(dirname(createRequire(LAUNCHER).resolve('node/package.json')), 'bin', 'node'));
const SYSTEM = '/usr/bin/node';

beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), 'darkroom-launcher-'));
  for (const directory of ['bin', 'packages/cli/src', 'node_modules/commander', 'node_modules/node/bin']) {
    mkdirSync(join(tree, directory), { recursive: true });
  }
  copyFileSync(LAUNCHER, join(tree, 'bin', 'darkroom'));
  writeFileSync(join(tree, 'package.json'), '{"type":"module"}');
  writeFileSync(join(tree, 'node_modules/commander/index.js'), '');
  symlinkSync(PINNED, join(tree, 'node_modules/node/bin/node'));
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'close');
  }
  rmSync(tree, { recursive: true, force: true });
});

function command(program: string): void {
  writeFileSync(join(tree, 'packages/cli/src/main.ts'), program);
}

function launch(node: string, ...args: string[]) {
  const child = spawn(node, [join(tree, 'bin', 'darkroom'), ...args], { stdio: 'pipe' });
  children.push(child);
  const output = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk) => {
    output.stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    output.stderr += chunk;
  });
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, ...output }));
  return { child, ended };
}

/** A Node without execve starts a second process; the pinned one behind another path replaces itself; the pinned one goes on. */
function ways(): { name: string; node: string; prepare: () => void }[] {
  const none = () => {};
  const wrapped = () => {
    const path = join(tree, 'node_modules/node/bin/node');
    rmSync(path);
    writeFileSync(path, `#!/bin/sh\nexec ${PINNED} "$@"\n`);
    chmodSync(path, 0o755);
  };
  const found = [
    { name: 'the pinned Node', node: PINNED, prepare: none },
    { name: 'another new Node', node: PINNED, prepare: wrapped },
  ];
  return existsSync(SYSTEM) ? [...found, { name: "the machine's own Node", node: SYSTEM, prepare: none }] : found;
}

describe.each(ways())('started by $name', ({ node, prepare }) => {
  beforeEach(prepare);

  test('arguments, input, output and the exit code go through, and the command runs under the pinned Node', async () => {
    command(`
      const args: string[] = process.argv.slice(2);
      let text = '';
      for await (const chunk of process.stdin) text += chunk;
      console.log(JSON.stringify({ args, text, node: process.execPath }));
      console.error('to stderr');
      process.exitCode = 7;`);
    const { child, ended } = launch(node, 'up', '--flag', 'a b');
    child.stdin?.end('typed');
    const { code, stdout, stderr } = await ended;
    expect(JSON.parse(stdout)).toEqual({ args: ['up', '--flag', 'a b'], text: 'typed', node: PINNED });
    expect({ code, stderr }).toEqual({ code: 7, stderr: 'to stderr\n' });
  });

  test('a signal reaches the command, which decides how to end', async () => {
    command(`
      process.on('SIGTERM', () => { console.log('drained'); process.exit(3); });
      setInterval(() => {}, 1000);
      console.log('ready');`);
    const { child, ended } = launch(node);
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ code: 3, stdout: 'ready\ndrained\n' });
  });

  test('a command that a signal ended makes the launcher end by it', async () => {
    command(`process.kill(process.pid, 'SIGKILL');`);
    expect(await launch(node).ended).toMatchObject({ code: null, signal: 'SIGKILL' });
  });

  test('a launcher that is killed takes the command with it', async () => {
    command(`setInterval(() => {}, 1000); console.log('ready');`);
    const { child, ended } = launch(node);
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    // The command holds our pipe: this only ends when it has ended.
    expect(await ended).toMatchObject({ signal: 'SIGKILL' });
  });

  test('missing dependencies are said with what to run', async () => {
    command('');
    rmSync(join(tree, 'node_modules'), { recursive: true });
    const { code, stderr } = await launch(node).ended;
    expect(code).toBe(1);
    expect(stderr).toBe(`darkroom: dependencies are not installed\n  Run \`npm ci\` in ${realpathSync(tree)}.\n`);
  });
});

test.each(ways().slice(0, 2))('no launcher stays in memory when $name starts it', async ({ node, prepare }) => {
  prepare();
  command('console.log(process.pid);');
  const { child, ended } = launch(node);
  expect(Number((await ended).stdout)).toBe(child.pid);
});

test('a Node that is too old says so when there is no other', async ({ skip }) => {
  const version = existsSync(SYSTEM) ? execFileSync(SYSTEM, ['--version'], { encoding: 'utf8' }) : '';
  if (!version.startsWith('v20.')) skip();
  command('');
  rmSync(join(tree, 'node_modules/node'), { recursive: true });
  const { code, stderr } = await launch(SYSTEM).ended;
  expect(code).toBe(1);
  expect(stderr).toContain(`Node ${version.trim().slice(1)} is too old: Darkroom needs 22.18 or newer`);
});

test('without the pinned Node a new one runs the command itself', async () => {
  command('console.log(process.execPath);');
  rmSync(join(tree, 'node_modules/node'), { recursive: true });
  expect((await launch(PINNED).ended).stdout.trim()).toBe(PINNED);
});

test('a symlink to the launcher, as npm makes it, finds its tree', async () => {
  command(`console.log('found');`);
  const link = join(tree, 'darkroom');
  symlinkSync(join(tree, 'bin', 'darkroom'), link);
  const child = spawn(PINNED, [link], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const [chunk] = await once(child.stdout, 'data');
  expect(String(chunk)).toBe('found\n');
});
