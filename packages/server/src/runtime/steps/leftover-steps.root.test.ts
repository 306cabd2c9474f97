import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlink } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { makeLabState, openLab, type SandboxLab } from '../testing/sandbox-lab.ts';
import { remainsOfSteps, runStep } from '../testing/step-lab.ts';

let lab: SandboxLab | undefined;
let server: ChildProcess | undefined;
afterEach(async () => {
  server?.kill('SIGKILL');
  server = undefined;
  await lab?.close();
  lab = undefined;
});

test('steps of a killed server are ended before the next one serves, and sandboxes go on', async () => {
  const stateDir = await makeLabState();
  const holder = fileURLToPath(new URL('../testing/hold-steps.ts', import.meta.url));
  const child = spawn(process.execPath, [holder, stateDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  server = child;
  const [words] = await once(child.stdout, 'data');
  const pids: number[] = JSON.parse(String(words));
  expect(pids.length).toBeGreaterThan(0);
  child.kill('SIGKILL');
  await once(child, 'exit');
  lab = await openLab(stateDir);
  for (const pid of pids) await expect(readlink(`/proc/${pid}/exe`)).rejects.toThrow(/ENOENT/);
  expect(await remainsOfSteps(lab)).toEqual([]);
  expect((await lab.sh('beside', 'echo goes on')).stdout).toBe('goes on\n');
  expect((await runStep(lab, 'echo again')).stdout).toBe('again\n');
});
