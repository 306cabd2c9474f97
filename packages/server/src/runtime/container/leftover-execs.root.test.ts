import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { makeLabState, openLab, type SandboxLab } from '../testing/sandbox-lab.ts';

let lab: SandboxLab | undefined;
let server: ChildProcess | undefined;
afterEach(async () => {
  server?.kill('SIGKILL');
  server = undefined;
  await lab?.close();
  lab = undefined;
});

test('commands of a killed server are ended with all that they started, but for what was meant to outlive it', async () => {
  const stateDir = await makeLabState();
  const holder = fileURLToPath(new URL('../testing/hold-execs.ts', import.meta.url));
  const child = spawn(process.execPath, [holder, stateDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  server = child;
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  lab = await openLab(stateDir);
  const count = async (command: string) => (await lab?.sh('busy', `ps -o args | grep -c "^${command}"`))?.stdout.trim();
  expect(await count('sleep 5001')).toBe('0');
  expect(await count('sleep 5002')).toBe('1');
  expect(await count('sleep 5003')).toBe('1');
  const files = await readdir(join(lab.runDir, 'containers', 'busy'));
  expect(files.filter((name) => /^exec-.*[.](json|log)$/.test(name)).length).toBeLessThanOrEqual(2);

  // It is nobody's leftover at a second look either.
  await lab.reopen();
  expect(await count('sleep 5002')).toBe('1');
});
