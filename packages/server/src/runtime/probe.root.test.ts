import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chown, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { run } from '../platform/process.ts';
import { childCgroups } from './cgroup-files.ts';
import { readCgroupLayout } from './cgroup-layout.ts';
import { attachLoopDevice } from './loop-devices.ts';
import { readMounts } from './mount-info.ts';
import { detachPool, ensurePool } from './pool.ts';
import { type ProbeConfig, probeMachine } from './probe.ts';
import { probeDirectory } from './probe-directory.ts';
import type { ProbeRow } from './probe-table.ts';

let stateDir: string;
let config: ProbeConfig;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'darkroom-test-'));
  config = {
    stateDir,
    runtime: { crun: 'crun', gvisor: 'auto', idBase: 1_000_000_000, idCount: 1_000_000_000, diskLimits: true },
    network: {},
  };
});

afterEach(async () => {
  await detachPool(stateDir);
  await rm(stateDir, { recursive: true, force: true });
});

function rowOf(rows: ProbeRow[], name: string): ProbeRow | undefined {
  return rows.find((row) => row.name === name);
}

/** What a try could have left on the machine; servers that other tests start make tries as well. */
async function traces() {
  const { hierarchies } = await readCgroupLayout();
  const cgroups = (await Promise.all(hierarchies.map(childCgroups))).flat();
  const mine = (names: string[]) => names.filter((name) => name.includes('probe'));
  return {
    cgroups: mine(cgroups),
    files: mine(await readdir(tmpdir())),
    state: await readdir(stateDir),
    mounts: mine((await readMounts()).map(({ target }) => target)),
    tables: mine((await run('nft', ['list', 'tables'], { timeoutMs: 5000 })).stdout.split('\n')),
    links: mine((await run('ip', ['-oneline', 'link'], { timeoutMs: 5000 })).stdout.split('\n')),
  };
}

const KINDS = ['cgroups', 'files', 'state', 'mounts', 'tables', 'links'] as const;

test('on a machine that tests run on, everything works, and nothing of it stays', async () => {
  const before = await traces();
  const rows = await probeMachine(config);
  expect(rows.filter(({ status }) => status === 'fail')).toEqual([]);
  const isNew = (kind: keyof typeof before, names: string[]) => names.filter((name) => !before[kind].includes(name));
  await vi.waitFor(async () => {
    const after = await traces();
    for (const kind of KINDS) expect(isNew(kind, after[kind]), kind).toEqual([]);
  }, 10_000);
});

test('what a killed process left in the middle of a probe goes with the next, and what one that lives has stays', async () => {
  const { pid: dead } = spawnSync('true');
  const left = join(tmpdir(), `darkroom-probe-${dead}-abcdef`);
  const alive = join(tmpdir(), `darkroom-probe-${process.pid}-abcdef`);
  const strange = join(tmpdir(), `darkroom-probe-${dead}-uvwxyz`);
  for (const path of [left, alive, strange]) await mkdir(path);
  await chown(strange, 1234, 1234);
  await writeFile(join(left, 'loop'), Buffer.alloc(1024 * 1024));
  const device = await attachLoopDevice(join(left, 'loop'), 4096);
  try {
    await rm(await probeDirectory(), { recursive: true });
    expect([left, alive, strange].map((path) => existsSync(path))).toEqual([false, true, true]);
    expect((await run('losetup', ['--list'], { timeoutMs: 5000 })).stdout).not.toContain(left);
  } finally {
    for (const path of [left, alive, strange]) await rm(path, { recursive: true, force: true });
    await run('losetup', ['--detach', device], { timeoutMs: 5000, okCodes: [0, 1] });
  }
});

test('a temporary directory of one user alone is not where probes work', async () => {
  const closed = await mkdtemp(join(tmpdir(), 'darkroom-test-'));
  await mkdir(join(closed, 'tmp'));
  vi.stubEnv('TMPDIR', join(closed, 'tmp'));
  try {
    expect((await probeMachine(config)).filter(({ status }) => status === 'fail')).toEqual([]);
  } finally {
    vi.unstubAllEnvs();
    await rm(closed, { recursive: true, force: true });
  }
});

test('two probes at once do not meet', async () => {
  const [first, second] = await Promise.all([probeMachine(config), probeMachine(config)]);
  expect([...first, ...second].filter(({ status }) => status === 'fail')).toEqual([]);
});

test('what is wrong with crun fails its row and the container, each with advice', async () => {
  const rows = await probeMachine({ ...config, runtime: { ...config.runtime, crun: '/bin/true' } });
  expect(rowOf(rows, 'crun')).toMatchObject({ status: 'fail', found: '/bin/true is not crun' });
  expect(rowOf(rows, 'container')).toMatchObject({ status: 'fail', advice: expect.any(String) });
  expect(rowOf(rows, 'overlayfs')).toMatchObject({ status: 'ok' });
});

test('an id range that cannot be mapped fails its row with the settings to change', async () => {
  const rows = await probeMachine({
    ...config,
    runtime: { ...config.runtime, idBase: 4_000_000_000, idCount: 1_000_000_000 },
  });
  expect(rowOf(rows, 'user namespaces')).toMatchObject({
    status: 'fail',
    advice: expect.stringContaining('runtime.idBase'),
  });
});

test('the pool is what it is, or what it would become', async () => {
  const absent = join(stateDir, 'not', 'made');
  const outlook = rowOf(await probeMachine({ ...config, stateDir: absent }), 'pool');
  expect(outlook).toMatchObject({ status: 'ok' });
  expect(existsSync(join(stateDir, 'not'))).toBe(false);
  await ensurePool({ stateDir, maxBytes: 600 * 1024 * 1024 });
  expect(rowOf(await probeMachine(config), 'pool')?.found).toMatch(/mounted from|with reflinks/);
});
