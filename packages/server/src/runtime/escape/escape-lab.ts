import { copyFile, mkdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { expect } from 'vitest';
import { z } from 'zod';
import { run } from '../../platform/process.ts';
import { addPython, shiftOwners } from '../../test-support/root-file-system.ts';
import { finish, ID_BASE, openLab, root, type SandboxLab } from '../testing/sandbox-lab.ts';
import type { ExecSpec, ProcessUser } from '../types.ts';
import { PRELUDE, REPORT } from './python-attempts.ts';

/** What each try of a script came to: `done`, or the name of the error that refused it. */
export type Outcomes = Record<string, string>;

const outcomesSchema = z.record(z.string(), z.string());

export interface EscapeLab extends SandboxLab {
  /** On the base layer, a Python that can make any system call. */
  readonly pythonLayer: string;
  readonly hostBefore: Record<string, string>;
  /** Runs tries in a sandbox: Python in which `attempt(name, function)` notes an outcome, and `note(name, value)` anything. */
  attempts(id: string, script: string, user?: ProcessUser): Promise<Outcomes>;
  /** Python that holds what it has once it is ready; resolves to what ends it. */
  background(id: string, script: string): Promise<() => Promise<void>>;
}

export const ATTACKER = 'attacker';
export const NEIGHBOUR = 'neighbour';
export const CANARY = 'a-canary-that-nobody-else-may-read';

/** Two organizations' sandboxes side by side, with a Python that can make any system call. */
export async function openEscapeLab(): Promise<EscapeLab> {
  const lab = await openLab();
  const pythonLayer = join(lab.poolRoot, 'layers', 'python', 'diff');
  try {
    await mkdir(join(pythonLayer, 'home/app'), { recursive: true });
    await addPython(pythonLayer);
    await addForeignFunctions(pythonLayer);
    await shiftOwners(pythonLayer, ID_BASE);
    const layers = [lab.baseLayer, pythonLayer];
    await lab.start(ATTACKER, { layers });
    await lab.start(NEIGHBOUR, { layers, env: { CANARY } });
    await lab.sh(
      NEIGHBOUR,
      `sleep 100000 >/dev/null 2>&1 & echo ${CANARY} > /root/canary; echo ${CANARY} > /dev/shm/canary`,
    );
  } catch (error) {
    await lab.close();
    throw error;
  }

  return Object.assign(lab, {
    pythonLayer,
    hostBefore: await hostCanary(),

    async attempts(id: string, script: string, user: ProcessUser = root) {
      const { exitCode, stdout, stderr } = await finish(lab.runtime, id, python(`${script}\n${REPORT}`, user));
      if (exitCode !== 0) throw new Error(`the script of attempts ended with ${exitCode}: ${stderr}`);
      return outcomesSchema.parse(JSON.parse(stdout));
    },

    async background(id: string, script: string) {
      const process = await lab.runtime.exec(
        id,
        python(`${script}\nprint('ready', flush=True)\ntime.sleep(600)`, root),
      );
      process.stdin.end();
      const errors = text(process.stderr).catch(() => '');
      for await (const line of createInterface(process.stdout)) {
        if (line === 'ready') return () => process.killTree();
      }
      throw new Error(`the background script ended: ${await errors}`);
    },
  });
}

/** After whatever was tried: the neighbour has what it had, and so has the host. */
export async function expectUnharmed(lab: EscapeLab): Promise<void> {
  const { stdout } = await lab.sh(
    NEIGHBOUR,
    'cat /root/canary /dev/shm/canary; echo $CANARY; hostname; ps | grep -c "[s]leep"',
  );
  expect(stdout.trim().split('\n')).toEqual([CANARY, CANARY, CANARY, NEIGHBOUR, '1']);
  expect(await hostCanary()).toEqual(lab.hostBefore);
}

/** What of the machine an escape would change first. */
async function hostCanary(): Promise<Record<string, string>> {
  const files = ['core_pattern', 'hostname', 'modprobe', 'panic', 'sysrq', 'randomize_va_space'];
  const texts = await Promise.all(
    files.map((file) => readFile(`/proc/sys/kernel/${file}`, 'utf8').catch(() => 'not there')),
  );
  const { uid, gid, mode } = await stat('/dev/null');
  return { ...Object.fromEntries(files.map((file, at) => [file, texts[at] ?? ''])), devNull: `${uid} ${gid} ${mode}` };
}

function python(script: string, user: ProcessUser): ExecSpec {
  return { argv: ['/usr/bin/python3', '-c', `${PRELUDE}\n${script}`], env: {}, cwd: '/', user };
}

/** The one shared object of the standard library's system calls that the interpreter itself does not need. */
async function addForeignFunctions(directory: string): Promise<void> {
  const { stdout } = await run('/usr/bin/python3', ['-c', 'import _ctypes; print(_ctypes.__file__)'], {
    timeoutMs: 20_000,
  });
  const { stdout: objects } = await run('ldd', [stdout.trim()], { timeoutMs: 10_000 });
  for (const path of objects.match(/\/\S+/g) ?? []) {
    await mkdir(join(directory, dirname(path)), { recursive: true });
    await copyFile(path, join(directory, path));
  }
}
