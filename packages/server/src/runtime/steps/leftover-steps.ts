import { readdirSync, readFileSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf, messageOf } from '../../platform/errors.ts';
import type { Crun } from '../container/crun.ts';
import { unmountQuietly } from '../container/overlay.ts';
import { removeTree } from '../container/remove-tree.ts';
import { readMounts } from '../mount-info.ts';
import { cleanUpStep } from './clean-up-step.ts';
import { killMembers, signalIf } from './step-end.ts';
import type { StepHost } from './step-host.ts';
import { SCRATCH_PREFIX, STEP_PREFIX, stepLayout } from './step-layout.ts';

const END_TIMEOUT_MS = 10_000;
const LOOK_AGAIN_MS = 5;

/** Ends the steps that an earlier server was killed over, and takes away what they had. Call it before anything of this server runs. */
export async function endLeftoverSteps(
  host: Pick<StepHost, 'layout' | 'cgroups' | 'network' | 'log'>,
  crun: Crun,
): Promise<void> {
  const { stepsDir, crunRoot } = stepLayout(host.layout);
  // First those who wait for the steps, and would clean up at the same time.
  for (const pid of crunsOver(crunRoot)) signalIf(pid, () => isCrunOver(pid, crunRoot));
  const inCgroups = (await host.cgroups.list()).filter((name) => name.startsWith(STEP_PREFIX));
  const names = new Set([...inCgroups, ...(await crun.list()), ...(await namesIn(stepsDir))]);
  const targets = (await readMounts())
    .map(({ target }) => target)
    .filter((target) => target.startsWith(`${stepsDir}/`));
  for (const target of targets.reverse()) unmountQuietly(target);
  for (const name of names) {
    try {
      await endMembers(host, name);
    } catch (error) {
      host.log.error({ step: name, error: messageOf(error) }, 'a step of an earlier server could not be ended');
    }
    await cleanUpStep(host, crun, name, undefined);
    host.log.warn({ step: name }, 'a step of an earlier server was ended');
  }
  for (const name of await namesIn(host.layout.trashDir)) {
    if (name.startsWith(SCRATCH_PREFIX)) await removeTree(join(host.layout.trashDir, name));
  }
}

/** With pid 1 go all others; until it is found among them, they are killed one by one. */
async function endMembers(host: Pick<StepHost, 'cgroups'>, name: string): Promise<void> {
  for (const deadline = performance.now() + END_TIMEOUT_MS; performance.now() < deadline; ) {
    if ((await host.cgroups.pids(name)).length === 0) return;
    await killMembers(host, name);
    await sleep(LOOK_AGAIN_MS);
  }
}

function crunsOver(crunRoot: string): number[] {
  const numbers = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return numbers.map(Number).filter((pid) => isCrunOver(pid, crunRoot));
}

/** A process of a container may call itself anything, but is never root here. */
function isCrunOver(pid: number, crunRoot: string): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return words[words.indexOf('--root') + 1] === crunRoot && statSync(`/proc/${pid}`).uid === 0;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return false;
    throw error;
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
