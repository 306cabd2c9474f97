import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { run } from '../platform/process.ts';
import { MIB, makeLabState, openLab, type SandboxLab } from './testing/sandbox-lab.ts';

let lab: SandboxLab | undefined;
let server: ChildProcess | undefined;
afterEach(async () => {
  server?.kill('SIGKILL');
  server = undefined;
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
    const frozenFor = readFileSync('/sys/kernel/rcu_expedited', 'utf8').trim();
    expect(frozenFor).toBe('0');

    lab = await openLab(stateDir);
    expect((await lab.runtime.list()).map(({ id, paused }) => ({ id, paused }))).toEqual([
      { id: 'goes-on', paused: false },
    ]);
    expect(await lab.sh('goes-on', 'cat /root/alone /root/started')).toMatchObject({ stdout: 'on\ngoes-on\n' });
    expect(readdirSync(join(lab.runDir, 'frozen'))).toEqual([]);
    expect(readdirSync(join(lab.poolRoot, 'tmp')).filter((name) => name.includes('copy-'))).toEqual([]);
  },
);
