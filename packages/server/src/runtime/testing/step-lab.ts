import { mkdir, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { StepExit, StepProcess, StepSpec } from '../types.ts';
import { MIB, type SandboxLab } from './sandbox-lab.ts';

export interface FinishedStep extends StepExit {
  stdout: string;
  stderr: string;
  upper: string;
}

let lastStep = 0;

/** An empty directory on the lab's pool, as a layer store gives it. */
export async function makeUpper(lab: SandboxLab): Promise<string> {
  const dir = await mkdtemp(join(lab.poolRoot, 'layers', 'new-'));
  await mkdir(join(dir, 'diff'));
  return join(dir, 'diff');
}

export async function stepSpec(lab: SandboxLab, script: string, changes: Partial<StepSpec> = {}): Promise<StepSpec> {
  lastStep += 1;
  return {
    id: `s${process.pid}-${lastStep}`,
    layers: [lab.baseLayer],
    upper: await makeUpper(lab),
    argv: ['/bin/sh', '-c', script],
    env: {},
    cwd: '/',
    user: '',
    limits: { cpu: 2, memoryBytes: 256 * MIB, pids: 128 },
    network: 'default',
    mounts: [],
    ...changes,
  };
}

/** Runs a shell script as a step, to its end. */
export async function runStep(lab: SandboxLab, script: string, changes: Partial<StepSpec> = {}): Promise<FinishedStep> {
  const spec = await stepSpec(lab, script, changes);
  const step = await lab.runtime.steps.run(spec);
  return { ...(await finishStep(step)), upper: spec.upper };
}

export async function finishStep(step: StepProcess): Promise<Omit<FinishedStep, 'upper'>> {
  const [stdout, stderr, exit] = await Promise.all([text(step.stdout), text(step.stderr), step.exited]);
  return { ...exit, stdout, stderr };
}
