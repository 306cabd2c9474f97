import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { armFailpoints } from '../platform/failpoints.ts';
import { run } from '../platform/process.ts';
import { MIB, makeLabState, openLab, type SandboxLab } from './testing/sandbox-lab.ts';

let lab: SandboxLab | undefined;
let server: ChildProcess | undefined;
afterEach(async () => {
  server?.kill('SIGKILL');
  server = undefined;
  armFailpoints('');
  await lab?.close();
  lab = undefined;
});

const holder = fileURLToPath(new URL('./testing/hold-runtime.ts', import.meta.url));
const statuses = z.array(z.object({ id: z.string(), pid: z.number() }));

/** Starts a sandbox, captures it, and is killed there. The sandbox's pid 1. */
async function killedAt(failpoint: string, stateDir: string, diskBytes: number): Promise<number> {
  const child = spawn(
    'unshare',
    ['--mount', '--propagation', 'slave', process.execPath, holder, stateDir, 'goes-on', '--capture'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, LAB_DISK_BYTES: String(diskBytes), LAB_FAILPOINTS: `${failpoint}=kill` },
    },
  );
  server = child;
  const output: Buffer[] = await child.stdout.toArray();
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  expect(child.signalCode).toBe('SIGKILL');
  server = undefined;
  const [, list = ''] = Buffer.concat(output).toString().split('\n');
  return statuses.parse(JSON.parse(list))[0]?.pid ?? 0;
}

test.each([
  ['capture.marked', 64 * MIB],
  ['capture.frozen', 64 * MIB],
  ['capture.cloned', 64 * MIB],
  ['capture.thawed', 64 * MIB],
  ['capture.frozen', 0],
])(
  'a server that is killed at %s leaves no sandbox standing still, and nothing for the next one to keep (disk of %i bytes)',
  async (failpoint, diskBytes) => {
    const stateDir = await makeLabState({ imageBytes: 1024 * MIB });
    const pid = await killedAt(failpoint, stateDir, diskBytes);
    // Without any server: a process of the sandbox itself writes.
    const enter = ['--target', String(pid), '--user', '--mount', '--pid', '--cgroup', '--root', '--wd'];
    await run('nsenter', [...enter, 'sh', '-c', 'echo on > /root/alone && sync'], { timeoutMs: 20_000 });
    await expect.poll(() => readFileSync('/sys/kernel/rcu_expedited', 'utf8').trim()).toBe('0');

    lab = await openLab(stateDir);
    expect((await lab.runtime.list()).map(({ id, paused }) => ({ id, paused }))).toEqual([
      { id: 'goes-on', paused: false },
    ]);
    expect(await lab.sh('goes-on', 'cat /root/alone /root/started')).toMatchObject({ stdout: 'on\ngoes-on\n' });
    expect(readdirSync(join(lab.runDir, 'frozen'))).toEqual([]);
    expect(readdirSync(join(lab.poolRoot, 'tmp')).filter((name) => name.includes('copy-'))).toEqual([]);
  },
);

test('a disk that this server cannot thaw is thawed all the same, and stays marked for the next one until then', async () => {
  lab = await openLab(undefined, { imageBytes: 1024 * MIB });
  const limits = { cpu: 1, memoryBytes: 256 * MIB, pids: 128, diskBytes: 64 * MIB };
  await lab.start('stuck', { limits });
  armFailpoints('capture.thawing=error');
  await expect(lab.runtime.capture('stuck')).rejects.toMatchObject({ code: 'unavailable' });
  expect(readdirSync(join(lab.runDir, 'frozen'))).toEqual(['stuck']);
  expect(await lab.sh('stuck', 'echo on > /root/file && sync && cat /root/file')).toMatchObject({ stdout: 'on\n' });
});

test.each(['capture.frozen', 'capture.cloned'])(
  'a copy that fails at %s is a failure, and the sandbox goes on',
  async (failpoint) => {
    lab = await openLab(undefined, { imageBytes: 1024 * MIB });
    const limits = { cpu: 1, memoryBytes: 256 * MIB, pids: 128, diskBytes: 64 * MIB };
    await lab.start('fails', { limits });
    armFailpoints(`${failpoint}=error`);
    await expect(lab.runtime.capture('fails')).rejects.toMatchObject({ code: 'unavailable' });
    expect(await lab.sh('fails', 'echo on > /root/file && sync && cat /root/file')).toMatchObject({ stdout: 'on\n' });
    expect(readdirSync(join(lab.runDir, 'frozen'))).toEqual([]);
    expect(readdirSync(join(lab.poolRoot, 'tmp')).filter((name) => name.includes('copy-'))).toEqual([]);
  },
);

test('on a full pool a capture is there or says that no space is left, and the sandbox goes on', async () => {
  lab = await openLab(undefined, { imageBytes: 512 * MIB });
  const limits = { cpu: 1, memoryBytes: 256 * MIB, pids: 128 };
  await lab.start('disk', { limits: { ...limits, diskBytes: 64 * MIB } });
  await lab.start('plain', { limits });
  for (const id of ['disk', 'plain']) {
    await lab.sh(
      id,
      'i=0; while [ $i -lt 200 ]; do echo $i > /root/f$i; i=$((i+1)); done; head -c 9000000 /dev/zero > /root/big; sync',
    );
  }
  await run('sh', ['-c', 'cat /dev/zero > "$1"; sync "$1"; true', 'sh', join(lab.poolRoot, 'filler')], {
    timeoutMs: 30_000,
  });
  await expect(lab.runtime.capture('plain')).rejects.toMatchObject({ code: 'insufficient_storage' });
  const outcome = await lab.runtime.capture('disk').then(
    async ({ release }) => {
      await release();
      return 'copied';
    },
    (error: unknown) => error,
  );
  if (outcome !== 'copied') expect(outcome).toMatchObject({ code: 'insufficient_storage' });
  expect(readdirSync(join(lab.poolRoot, 'tmp')).filter((name) => name.includes('copy-'))).toEqual([]);
  rmSync(join(lab.poolRoot, 'filler'));
  for (const id of ['disk', 'plain']) {
    expect(await lab.sh(id, 'cat /root/f199')).toMatchObject({ stdout: '199\n' });
    await (await lab.runtime.capture(id)).release();
  }
});
