import { mkdir, mkdtemp, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { run } from '../../platform/process.ts';
import { readMounts } from '../mount-info.ts';
import type { StepExit, StepProcess, StepSpec } from '../types.ts';
import { ID_BASE, MIB, type SandboxLab } from './sandbox-lab.ts';

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

/** A layer with owners as they are in one. */
export async function makeLayer(lab: SandboxLab, fill: (directory: string) => Promise<unknown>): Promise<string> {
  const layer = await makeUpper(lab);
  await fill(layer);
  await run('chown', ['-hR', `${ID_BASE}:${ID_BASE}`, layer], { timeoutMs: 10_000 });
  return layer;
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

/** Directories, containers, mounts and cgroups of steps; empty when none is there. */
export async function remainsOfSteps(lab: SandboxLab): Promise<string[]> {
  const directories = ['steps', 'step-crun'].map((name) => join(lab.runDir, name));
  const names = await Promise.all([...directories, join(lab.poolRoot, 'tmp')].map((path) => readdir(path)));
  const mounts = (await readMounts()).map(({ target }) => target);
  const tag = basename(lab.runDir);
  const cgroups = await run('find', ['/sys/fs/cgroup', '-path', `*/${tag}/step-*`], {
    timeoutMs: 10_000,
    okCodes: [0, 1],
  });
  return [
    ...names.flat(),
    ...mounts.filter((target) => target.startsWith(`${lab.runDir}/steps/`)),
    ...cgroups.stdout.split('\n').filter(Boolean),
  ];
}
