import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readCgroupLayout } from '../cgroup-layout.ts';
import { MIB, openLab, type SandboxLab } from '../testing/sandbox-lab.ts';

let lab: SandboxLab;
beforeAll(async () => {
  lab = await openLab();
});
afterAll(() => lab?.close());

async function cgroupFile(id: string, controller: string, name: string): Promise<string> {
  const { controllers } = await readCgroupLayout();
  const pid = (await lab.runtime.list()).find((status) => status.id === id)?.pid;
  const lines = (await readFile(`/proc/${pid}/cgroup`, 'utf8'))
    .trim()
    .split('\n')
    .map((line) => line.split(':'));
  const own =
    lines.find(([, names]) => names?.split(',').includes(controller)) ?? lines.find(([, names]) => names === '');
  return (await readFile(`${controllers.get(controller)}${own?.[2]}/${name}`, 'utf8')).trim();
}

test('what a sandbox was given is what its cgroup has', async () => {
  await lab.start('given', { limits: { cpu: 0.5, memoryBytes: 64 * MIB, pids: 40 } });
  const v2 = (await readCgroupLayout()).mode === 'v2';
  expect(await cgroupFile('given', 'pids', 'pids.max')).toBe('40');
  if (v2) {
    expect(await cgroupFile('given', 'cpu', 'cpu.max')).toBe('50000 100000');
    expect(await cgroupFile('given', 'memory', 'memory.max')).toBe(String(64 * MIB));
  } else {
    expect(await cgroupFile('given', 'cpu', 'cpu.cfs_quota_us')).toBe('50000');
    expect(await cgroupFile('given', 'memory', 'memory.limit_in_bytes')).toBe(String(64 * MIB));
  }
});

test('a command that takes too much memory is killed, and the sandbox goes on', async () => {
  await lab.start('hungry', { limits: { cpu: 1, memoryBytes: 48 * MIB, pids: 64 } });
  const { exitCode, signal } = await lab.sh('hungry', 'head -c 200m /dev/zero | tail > /dev/null; exit $?');
  expect([exitCode, signal]).toEqual([137, 'SIGKILL']);
  expect(await lab.sh('hungry', 'echo alive')).toMatchObject({ stdout: 'alive\n' });
});

test('no more processes than allowed can be, and a command can be run again after', async () => {
  await lab.start('crowded', { limits: { cpu: 1, memoryBytes: 128 * MIB, pids: 20 } });
  const { stderr } = await lab.sh('crowded', 'for i in $(seq 60); do sleep 0.5 >/dev/null & done; wait');
  expect(stderr).toMatch(/can't fork|temporarily unavailable/i);
  expect(await lab.sh('crowded', 'echo again')).toMatchObject({ stdout: 'again\n' });
});

test('commands are in the cgroup of their sandbox too', async () => {
  await lab.start('inside');
  const { stdout } = await lab.sh('inside', 'cat /proc/self/cgroup');
  const limited = stdout
    .trim()
    .split('\n')
    .filter((line) => /:(pids|memory|cpu|):/.test(line));
  expect(limited.map((line) => line.split(':')[2]).filter((path) => path !== '/')).toEqual([]);
});

test('open files and core dumps are limited for commands and pid 1', async () => {
  await lab.start('files');
  const { stdout } = await lab.sh('files', 'ulimit -n; ulimit -c; cat /proc/self/oom_score_adj');
  const [open, core, oom] = stdout.trim().split('\n').map(Number);
  expect(open).toBeGreaterThanOrEqual(1024);
  expect(core).toBe(0);
  expect(oom).toBeGreaterThan(0);
});

test('when memory is short commands go first, and pid 1 stays also when they are many', async () => {
  await lab.start('bombed', { limits: { cpu: 1, memoryBytes: 48 * MIB, pids: 64 } });
  const bomb = 'for i in 1 2 3 4; do (head -c 200m /dev/zero | tail > /dev/null) & done; wait; echo over';
  await lab.sh('bombed', bomb);
  expect((await lab.runtime.usage('bombed')).run?.oomKills).toBeGreaterThan(0);
  expect(await lab.runtime.newOomKills('bombed')).toBeGreaterThan(0);
  expect(await lab.runtime.newOomKills('bombed')).toBe(0);
  expect(await lab.sh('bombed', 'echo alive')).toMatchObject({ stdout: 'alive\n' });
});

test('files in memory count as memory, and cannot take more', async () => {
  await lab.start('tmpfs', { limits: { cpu: 1, memoryBytes: 40 * MIB, pids: 64 } });
  await lab.sh('tmpfs', 'for d in /dev/shm /dev; do head -c 60m /dev/zero > $d/big; done');
  const { run } = await lab.runtime.usage('tmpfs');
  expect(run?.memoryBytes).toBeLessThanOrEqual(40 * MIB);
  expect(run?.oomKills).toBeGreaterThan(0);
});

test('a fork bomb fills its own sandbox only', async () => {
  await lab.start('forks', { limits: { cpu: 1, memoryBytes: 128 * MIB, pids: 40 } });
  await lab.start('neighbour', { limits: { cpu: 1, memoryBytes: 128 * MIB, pids: 40 } });
  await lab.sh('forks', 'bomb() { bomb | bomb & }; for i in 1 2 3; do bomb; done >/dev/null 2>&1; true');
  expect(await lab.sh('neighbour', 'for i in $(seq 20); do sleep 0 & done; wait; echo fine')).toMatchObject({
    stdout: 'fine\n',
  });
  expect((await lab.runtime.usage('forks')).run?.pids).toBeLessThanOrEqual(40);
  await lab.runtime.remove('forks');
});

test('processors are shared out by what each sandbox was given', async () => {
  await lab.start('one', { limits: { cpu: 1, memoryBytes: 64 * MIB, pids: 64 } });
  await lab.start('two', { limits: { cpu: 2, memoryBytes: 64 * MIB, pids: 64 } });
  const v2 = (await readCgroupLayout()).mode === 'v2';
  const file = v2 ? 'cpu.weight' : 'cpu.shares';
  const [one, two] = await Promise.all(['one', 'two'].map(async (id) => Number(await cgroupFile(id, 'cpu', file))));
  expect((two ?? 0) / (one ?? 1)).toBeCloseTo(2, 0);
  await lab.runtime.resize('one', { cpu: 0.5, memoryBytes: 64 * MIB });
  expect((two ?? 0) / Number(await cgroupFile('one', 'cpu', file))).toBeCloseTo(4, 0);
});

test('what a sandbox takes is told', async () => {
  await lab.start('told', { limits: { cpu: 1, memoryBytes: 96 * MIB, pids: 64 } });
  await lab.sh('told', 'head -c 20m /dev/zero > /dev/shm/held; sleep 5000 >/dev/null 2>&1 &');
  const { run, disk } = await lab.runtime.usage('told');
  expect(run).toMatchObject({ memoryLimitBytes: 96 * MIB, oomKills: 0 });
  expect(run?.memoryBytes).toBeGreaterThan(20 * MIB);
  expect(run?.pids).toBeGreaterThanOrEqual(2);
  expect(run?.cpuMicros).toBeGreaterThan(0);
  // Without a disk of its own there is nothing to say of it.
  expect(disk).toBeUndefined();
  expect((await lab.runtime.totals())?.memoryBytes).toBeGreaterThan(20 * MIB);
  await lab.runtime.stop('told', { graceMs: 0 });
  expect(await lab.runtime.usage('told')).toEqual({});
});
