import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { CgroupLayout } from './cgroup-layout.ts';
import { cgroupsIn } from './cgroups.ts';

/** Files as the kernel writes them; what only the kernel can do is in cgroups.root.test.ts. */
let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'darkroom-cgroup-'));
});

afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

function unified(): CgroupLayout {
  return {
    mode: 'v2',
    controllers: new Map(['cpu', 'memory', 'pids'].map((name) => [name, root])),
    hierarchies: [root],
  };
}

function write(path: string, content: string): void {
  const file = join(root, path);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, content);
}

test('two state directories have two parents', () => {
  expect(cgroupsIn(unified(), 'aaaaaaaa').pathFor('x')).toBe('/darkroom-aaaaaaaa/x');
  expect(cgroupsIn(unified(), 'bbbbbbbb').parent).toBe('/darkroom-bbbbbbbb');
});

test('v2: usage and the out-of-memory counter are read from its files', async () => {
  const cgroups = cgroupsIn(unified(), '0');
  write('darkroom-0/box/memory.current', '4096\n');
  write('darkroom-0/box/memory.events', 'low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n');
  write('darkroom-0/box/cpu.stat', 'usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n');
  write('darkroom-0/box/memory.max', '8192\n');
  write('darkroom-0/box/memory.stat', 'anon 1024\nfile 3000\nshmem 1000\n');
  write('darkroom-0/box/pids.current', '3\n');
  expect(await cgroups.oomKills('box')).toBe(2);
  expect(await cgroups.usage('box')).toEqual({
    memoryBytes: 4096,
    memoryLimitBytes: 8192,
    cacheBytes: 2000,
    cpuMicros: 1234567,
    pids: 3,
  });
});

test('processes of cgroups that a container made itself are counted in', async () => {
  write('darkroom-0/box/cgroup.procs', '10\n11\n');
  write('darkroom-0/box/init/cgroup.procs', '');
  write('darkroom-0/box/init/deeper/cgroup.procs', '12\n');
  expect(await cgroupsIn(unified(), '0').pids('box')).toEqual([10, 11, 12]);
});

test('a container without a cgroup has no usage and no processes', async () => {
  const cgroups = cgroupsIn(unified(), '0');
  expect(await cgroups.usage('gone')).toBeUndefined();
  expect(await cgroups.oomKills('gone')).toBeUndefined();
  expect(await cgroups.pids('gone')).toEqual([]);
  expect(await cgroups.list()).toEqual([]);
  await cgroups.remove('gone');
  await cgroups.removeParent();
});
