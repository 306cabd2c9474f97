import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { makeLabState, openLab, type SandboxLab } from '../../testing/sandbox-lab.ts';
import { gvisorForTests } from './testing.ts';

const gvisor = await gvisorForTests();
const program = 'program' in gvisor ? gvisor.program : '';

let lab: SandboxLab | undefined;
let server: ChildProcess | undefined;
afterEach(async () => {
  server?.kill('SIGKILL');
  server = undefined;
  await lab?.close();
  lab = undefined;
});

/** Another process that holds a runtime; killed without a chance to tidy up. */
async function serverThatDies(script: string, stateDir: string, args: readonly string[] = []): Promise<void> {
  const path = fileURLToPath(new URL(`../../testing/${script}`, import.meta.url));
  const env = { ...process.env, LAB_GVISOR: program };
  const child = spawn(process.execPath, [path, stateDir, ...args], { stdio: ['ignore', 'pipe', 'inherit'], env });
  server = child;
  await once(child.stdout, 'data');
  child.kill('SIGKILL');
  await once(child, 'exit');
  server = undefined;
}

describe.skipIf(program === '')(`under gVisor ${'missing' in gvisor ? `(${gvisor.missing})` : ''}`, () => {
  test('sandboxes of a killed server go on, and the next one commands, pauses and ends them', async () => {
    const stateDir = await makeLabState();
    await serverThatDies('hold-runtime.ts', stateDir, ['first', 'second']);
    lab = await openLab(stateDir, { gvisor: program });
    expect(await lab.sh('first', 'cat /root/started; echo $GIVEN')).toMatchObject({ stdout: 'first\nearlier\n' });
    expect((await lab.sh('first', 'ps -o args')).stdout).toMatch(/^sleep 5000/m);
    const file = await lab.runtime.files('first').read('/root/started');
    file.stream.destroy();
    expect(file.stat.size).toBe('first\n'.length);
    await lab.runtime.pause('first');
    await lab.runtime.resume('first');

    const { promise, resolve } = Promise.withResolvers<string>();
    lab.runtime.onExit(({ id, reason }) => resolve(`${id} ${reason}`));
    await lab.sh('second', 'kill -TERM 1').catch(() => {});
    expect(await promise).toBe('second ended');

    await lab.runtime.stop('first', { graceMs: 1000 });
    await lab.start('first');
    expect(await lab.sh('first', 'cat /root/started')).toMatchObject({ stdout: 'first\n' });
    await lab.runtime.remove('first');
    expect((await readdir(join(lab.runDir, 'gvisor'))).filter((name) => !name.startsWith('.'))).toEqual([]);
  });

  test('commands of a killed server are ended, but for what was meant to outlive it', async () => {
    const stateDir = await makeLabState();
    await serverThatDies('hold-execs.ts', stateDir);
    lab = await openLab(stateDir, { gvisor: program });
    const { stdout } = await lab.sh('busy', 'ps -o args');
    expect(stdout).not.toMatch(/^sleep 5001/m);
    expect(stdout).toMatch(/^sleep 5002/m);
    expect(stdout).toMatch(/^sleep 5003/m);
  });

  test('a server that has gVisor turned off ends what ran under it, and starts none', async () => {
    const stateDir = await makeLabState();
    await serverThatDies('hold-runtime.ts', stateDir, ['first']);
    lab = await openLab(stateDir, { gvisor: 'off' });
    await expect(lab.sh('first', 'true')).rejects.toMatchObject({ code: 'invalid_request' });
    await lab.runtime.stop('first', { graceMs: 0 });
    await expect(lab.start('first')).rejects.toMatchObject({ code: 'invalid_request' });
    await lab.start('other', { sandboxClass: 'container' });
    expect((await lab.sh('other', 'echo fine')).stdout).toBe('fine\n');
  });
});
