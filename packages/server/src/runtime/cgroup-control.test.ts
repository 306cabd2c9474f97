import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { applyLimits, cpuQuota, cpuShares, isFrozen, setFrozen } from './cgroup-control.ts';

/** Files as the kernel writes them; the real ones are in the tests of containers. */
let directory: string;
const file = (_controller: string, name: string) => join(directory, name);
const write = (name: string, content: string) => writeFileSync(file('', name), content);
const read = (name: string) => readFileSync(file('', name), 'utf8');

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'darkroom-cgroup-'));
});
afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

test('v2: limits are written in its words', async () => {
  write('memory.stat', 'anon 100\nfile 5000\nshmem 50\n');
  await applyLimits(2, file, { cpu: 1.5, memoryBytes: 4096 });
  expect([read('memory.max'), read('cpu.max'), read('cpu.weight')]).toEqual(['4096', '150000 100000', '59']);
});

test('v1: limits are written in its words, also without accounting of swap', async () => {
  write('memory.stat', 'total_rss 100\n');
  write('memory.limit_in_bytes', '1024\n');
  await applyLimits(1, file, { cpu: 0.5, memoryBytes: 4096 });
  expect([read('memory.limit_in_bytes'), read('cpu.cfs_quota_us'), read('cpu.shares')]).toEqual([
    '4096',
    '50000',
    '512',
  ]);
});

test.each([
  [1, 'total_rss 3000\ntotal_shmem 2000\ntotal_cache 9000\n'],
  [2, 'anon 3000\nshmem 2000\nfile 9000\n'],
] as const)('v%s: a limit below what is held is refused before anything is written', async (version, stat) => {
  write('memory.stat', stat);
  write('memory.limit_in_bytes', '8192');
  write('memory.max', '8192');
  await expect(applyLimits(version, file, { cpu: 1, memoryBytes: 4096 })).rejects.toMatchObject({
    code: 'invalid_request',
  });
  expect([read('memory.limit_in_bytes'), read('memory.max')]).toEqual(['8192', '8192']);
});

test('frozen is what the kernel says', async () => {
  write('cgroup.events', 'populated 1\nfrozen 1\n');
  write('freezer.state', 'FREEZING\n');
  expect([await isFrozen(2, file), await isFrozen(1, file)]).toEqual([true, false]);
  await setFrozen(2, file, true);
  expect(read('cgroup.freeze')).toBe('1');
});

test('without a freezer nothing is frozen, and thawing is no failure', async () => {
  const nowhere = (_controller: string, name: string) => join(directory, 'gone', name);
  await expect(setFrozen(2, nowhere, true)).rejects.toMatchObject({ code: 'unavailable' });
  await setFrozen(1, nowhere, false);
  expect(await isFrozen(1, nowhere)).toBe(false);
});

test('shares and quota stay within what the kernel takes', () => {
  expect([cpuShares(0.0001), cpuShares(1), cpuShares(2), cpuShares(1000)]).toEqual([2, 1024, 2048, 262_144]);
  expect([cpuQuota(0.0001), cpuQuota(2)]).toEqual([1000, 200_000]);
});
