import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { run } from '../platform/process.ts';
import { type CgroupLayout, readCgroupLayout, UNIFIED_OF_HYBRID } from './cgroup-layout.ts';
import { type Cgroups, cgroupsIn } from './cgroups.ts';
import { prepareCgroups } from './prepare-cgroups.ts';

let layout: CgroupLayout;
let cgroups: Cgroups;

beforeEach(async () => {
  layout = await readCgroupLayout();
  cgroups = cgroupsIn(layout, `test-${process.pid}`);
});

afterEach(async () => {
  for (const id of await cgroups.list()) await cgroups.remove(id);
  await cgroups.removeParent();
});

/** A process in a cgroup of its own in every hierarchy, as crun makes them; it ends when its input does. */
async function processInCgroup(id: string) {
  const child = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child, 'spawn');
  for (const hierarchy of layout.hierarchies) {
    const directory = join(hierarchy, cgroups.parent, id);
    mkdirSync(directory, { recursive: true });
    // A new cpuset takes no process before it has processors and memory.
    if (existsSync(join(directory, 'cpuset.cpus')) && layout.mode !== 'v2') continue;
    writeFileSync(join(directory, 'cgroup.procs'), String(child.pid));
  }
  return child;
}

test('a living container has its processes and usage, and is no leftover', async () => {
  const child = await processInCgroup('box');
  try {
    expect(await cgroups.list()).toEqual(['box']);
    expect(await cgroups.pids('box')).toEqual([child.pid]);
    expect(await cgroups.usage('box')).toMatchObject({ pids: 1 });
    expect(await cgroups.oomKills('box')).toBe(0);
    expect(await cgroups.removeLeftovers(new Set())).toEqual([]);
    expect(await cgroups.list()).toEqual(['box']);
  } finally {
    child.stdin.end();
  }
  await once(child, 'exit');
});

test('what a dead container left is removed, and its parent when it is empty', async () => {
  const child = await processInCgroup('dead');
  child.stdin.end();
  await once(child, 'exit');
  expect(await cgroups.removeLeftovers(new Set(['alive']))).toEqual(['dead']);
  await cgroups.removeParent();
  expect(layout.hierarchies.filter((hierarchy) => existsSync(join(hierarchy, cgroups.parent)))).toEqual([]);
});

test('removing waits for a process that is just being killed', async () => {
  const child = await processInCgroup('dying');
  child.kill('SIGKILL');
  await cgroups.remove('dying');
  expect(await cgroups.list()).toEqual([]);
});

test('on a hybrid machine the second hierarchy is hidden in a mount namespace of its own, and nowhere else', async ({
  skip,
}) => {
  if (layout.mode !== 'hybrid') skip();
  const program = `
    const { prepareCgroups } = await import(process.argv[1]);
    const { version, parent } = await prepareCgroups({ tag: 'test' });
    const again = await prepareCgroups({ tag: 'test' });
    console.log(JSON.stringify({ version, parent, again: again.version }));`;
  const module = fileURLToPath(new URL('./prepare-cgroups.ts', import.meta.url));
  const node = [process.execPath, '--input-type=module', '-e', program, module];
  const { stdout } = await run('unshare', ['--mount', '--propagation', 'slave', '--', ...node], { timeoutMs: 20_000 });
  expect(JSON.parse(stdout)).toEqual({ version: 1, parent: '/darkroom-test', again: 1 });
  expect(existsSync(join(UNIFIED_OF_HYBRID, 'cgroup.procs'))).toBe(true);
});

test('on a hybrid machine nothing is hidden outside of a mount namespace of its own', async ({ skip }) => {
  if (layout.mode !== 'hybrid') skip();
  await expect(prepareCgroups({ tag: 'test' })).rejects.toMatchObject({ code: 'unavailable' });
  expect(existsSync(join(UNIFIED_OF_HYBRID, 'cgroup.procs'))).toBe(true);
});
