import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { run } from '../../platform/process.ts';
import { makeLabState, openLab, type SandboxLab } from '../testing/sandbox-lab.ts';
import { processStat } from './live-container.ts';

let lab: SandboxLab | undefined;
let server: ChildProcess | undefined;
afterEach(async () => {
  server?.kill('SIGKILL');
  server = undefined;
  await lab?.close();
  lab = undefined;
});

const holder = fileURLToPath(new URL('../testing/hold-runtime.ts', import.meta.url));

/** Another process that holds the runtime and has started these sandboxes; killed without a chance to tidy up. */
async function serverThatDies(stateDir: string, ids: string[]): Promise<void> {
  const child = spawn(process.execPath, [holder, stateDir, ...ids], { stdio: ['ignore', 'pipe', 'inherit'] });
  server = child;
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  server = undefined;
}

test('sandboxes of a killed server go on, and the next one commands, watches and ends them', async () => {
  const stateDir = await makeLabState();
  await serverThatDies(stateDir, ['first', 'second']);
  lab = await openLab(stateDir);
  expect(
    (await lab.runtime.list())
      .filter(({ running }) => running)
      .map(({ id }) => id)
      .sort(),
  ).toEqual(['first', 'second']);
  expect(await lab.sh('first', 'cat /root/started; echo $GIVEN')).toMatchObject({ stdout: 'first\nearlier\n' });
  expect((await lab.sh('first', 'ps -o args')).stdout).toMatch(/^sleep 5000/m);
  await expect(lab.start('first')).rejects.toMatchObject({ code: 'conflict' });

  const { promise, resolve } = Promise.withResolvers<string>();
  lab.runtime.onExit(({ id, reason }) => resolve(`${id} ${reason}`));
  await lab.sh('second', 'kill -TERM 1');
  expect(await promise).toBe('second ended');

  await lab.runtime.stop('first', { graceMs: 1000 });
  await lab.start('first');
  expect(await lab.sh('first', 'cat /root/started')).toMatchObject({ stdout: 'first\n' });
});

test('what was paused when the server was killed is paused for the next, which resumes, stops and removes it', async () => {
  const stateDir = await makeLabState();
  await serverThatDies(stateDir, ['--pause', 'goes-on', 'stops', 'goes']);
  lab = await openLab(stateDir);
  const paused = (await lab.runtime.list()).filter((status) => status.paused).map(({ id }) => id);
  expect(paused.sort()).toEqual(['goes', 'goes-on', 'stops']);
  await expect(lab.sh('stops', 'true')).rejects.toMatchObject({ code: 'conflict' });
  await lab.runtime.resume('goes-on');
  expect(await lab.sh('goes-on', 'cat /root/started')).toMatchObject({ stdout: 'goes-on\n' });
  // The command that the killed server was in the middle of has nobody to answer to.
  expect((await lab.sh('goes-on', 'ps -o args')).stdout).not.toContain('begun');
  await lab.runtime.stop('stops', { graceMs: 5000 });
  await lab.runtime.remove('goes');
  expect((await lab.runtime.list()).map(({ id, running }) => [id, running]).sort()).toEqual([
    ['goes-on', true],
    ['stops', false],
  ]);
});

test('a server that closes leaves its sandboxes running for the next', async () => {
  lab = await openLab();
  await lab.start('stays', { env: { GIVEN: 'kept' } });
  await lab.sh('stays', 'sleep 5000 >/dev/null 2>&1 &');
  await lab.reopen();
  expect(await lab.sh('stays', 'echo $GIVEN; ps -o args')).toMatchObject({
    stdout: expect.stringMatching(/^kept\n(.*\n)*sleep 5000/),
  });
});

test('a changed network is what the next server puts in force, also when this one closed in between', async () => {
  lab = await openLab();
  const { runDir } = lab;
  await lab.start('narrowed', { network: { blockAll: false, allowRanges: ['203.0.113.0/24'] } });
  await lab.runtime.setNetwork('narrowed', {
    blockAll: false,
    allowDomains: ['example.com'],
    bandwidth: { inMbps: 8 },
  });
  const table = ['inet', `darkroom_${runDir.slice('/run/darkroom-'.length)}`];
  const rules = async () => (await run('nft', ['list', 'table', ...table], { timeoutMs: 10_000 })).stdout;
  const address = /set named \{[^}]*elements = \{ (\S+) \}/.exec(await rules())?.[1] ?? 'none';
  await lab.runtime.close();
  await run('nft', ['delete', 'table', ...table], { timeoutMs: 10_000 });
  await lab.reopen();
  const after = await rules();
  expect(after).toMatch(new RegExp(`set limited \\{[^}]*elements = \\{ ${address} \\}`));
  expect(after).toMatch(new RegExp(`map inbound \\{[^}]*${address} : "in_`));
  expect(after).not.toContain('203.0.113.0/24');
  await lab.runtime.stop('narrowed', { graceMs: 0 });
  await expect(lab.runtime.setNetwork('narrowed', { blockAll: true })).rejects.toMatchObject({ code: 'conflict' });
  expect(await rules()).not.toMatch(/set limited \{[^}]*elements/);
});

test('a sandbox without network stays so, also when the firewall was taken away while no server was there', async () => {
  lab = await openLab();
  const { runtime, runDir } = lab;
  await lab.start('island', { network: { blockAll: true } });
  const table = ['inet', `darkroom_${runDir.slice('/run/darkroom-'.length)}`];
  const blocked = async () =>
    (await run('nft', ['list', 'set', ...table, 'blocked'], { timeoutMs: 10_000 })).stdout.includes('elements');
  expect(await blocked()).toBe(true);
  await runtime.close();
  await run('nft', ['delete', 'table', ...table], { timeoutMs: 10_000 });
  await lab.reopen();
  expect(await blocked()).toBe(true);
});

test('what ended while no server was there is not running, and leaves nothing but its files', async () => {
  const stateDir = await makeLabState();
  await serverThatDies(stateDir, ['gone']);
  lab = await openLab(stateDir);
  const pid = (await lab.runtime.list()).find(({ id }) => id === 'gone')?.pid;
  await lab.reopen();
  expect(pid).toBeGreaterThan(0);
  await lab.runtime.close();
  process.kill(pid ?? -1, 'SIGKILL');
  while (!['Z', undefined].includes(processStat(pid ?? -1)?.state)) await nextTurn();
  lab = await openLab(stateDir);
  expect(await lab.runtime.list()).toEqual([{ id: 'gone', running: false, paused: false, pid: undefined }]);
  expect(await readdir(join(lab.runDir, 'containers'))).toEqual([]);
  expect(await readdir(join(lab.runDir, 'crun'))).toEqual([]);
  await lab.start('gone');
  expect(await lab.sh('gone', 'cat /root/started')).toMatchObject({ stdout: 'gone\n' });
});

test('after a reboot nothing is left in the run directory, and every sandbox can be started', async () => {
  lab = await openLab();
  await lab.start('rebooted');
  await lab.sh('rebooted', 'echo kept > /root/file');
  await lab.runtime.stop('rebooted', { graceMs: 0 });
  await lab.runtime.close();
  await rm(join(lab.runDir, 'containers'), { recursive: true });
  await rm(join(lab.runDir, 'crun'), { recursive: true });
  await lab.reopen();
  await lab.start('rebooted');
  expect(await lab.sh('rebooted', 'cat /root/file')).toMatchObject({ stdout: 'kept\n' });
});

test('half-made and half-removed directories of a crash are swept at the next start', async () => {
  lab = await openLab();
  const litter = ['new-sandbox-x-1', 'removed-sandbox-y-2'].map((name) => join(lab?.poolRoot ?? '', 'tmp', name));
  for (const path of litter) await mkdir(join(path, 'upper'), { recursive: true });
  const broken = join(lab.runDir, 'crun', 'half');
  await mkdir(broken, { recursive: true });
  await writeFile(join(broken, 'status'), '{"pid": ');
  await lab.reopen();
  expect([...litter, broken].filter((path) => existsSync(path))).toEqual([]);
});
