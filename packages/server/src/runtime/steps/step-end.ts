import { closeSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { DarkroomError, errnoOf } from '../../platform/errors.ts';
import { pidfdOpen, pidfdSignal } from '../../platform/libc-process.ts';
import type { SpawnedProcess } from '../../platform/spawned-process.ts';
import { processStat } from '../container/live-container.ts';
import { childrenOf } from '../container/process-tree.ts';
import type { StepHost } from './step-host.ts';

const SIGKILL = 9;
const LOOK_AGAIN_MS = 5;
/** Long enough for crun to have a child on the busiest machine. A child whose crun is gone before it began ends by itself. */
const PATIENCE_MS = 1_000;
/** Ended by SIGKILL, a process may still wait for a disk in the kernel. */
const END_TIMEOUT_MS = 30_000;

/**
 * Kills pid 1, and with it everything in its pid namespace, however fast that forks. What comes first below crun is a helper on the way, whose
 * place pid 1 takes: so it looks again until crun ends, which it does after its child. A crun that does not is ended itself.
 */
export async function killStep(host: StepHost, name: string, child: SpawnedProcess): Promise<void> {
  const began = performance.now();
  while (!child.hasEnded()) {
    const waited = performance.now() - began;
    if (waited > END_TIMEOUT_MS) throw doesNotEnd(name);
    for (const pid of childrenOf(child.pid)) signalIf(pid, () => processStat(pid)?.parent === child.pid);
    if (waited > PATIENCE_MS) {
      await killMembers(host, name);
      signalIf(child.pid, () => !child.hasEnded());
    }
    const timer = new AbortController();
    const again = sleep(LOOK_AGAIN_MS, undefined, { signal: timer.signal }).catch(() => undefined);
    await Promise.race([child.exited.catch(() => undefined), again]);
    timer.abort();
  }
}

/** Whatever is in its cgroups, which nothing leaves. */
export async function killMembers({ cgroups }: Pick<StepHost, 'cgroups'>, name: string): Promise<void> {
  const path = `${cgroups.pathFor(name)}/`;
  for (const pid of await cgroups.pids(name)) signalIf(pid, () => cgroupsOf(pid).includes(path));
}

function cgroupsOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'latin1');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return '';
    throw error;
  }
}

/** `isMeant` is asked when the descriptor is open: from then on the pid cannot pass to another process unseen. */
export function signalIf(pid: number, isMeant: () => boolean): void {
  let pidfd: number;
  try {
    pidfd = pidfdOpen(pid);
  } catch (error) {
    if (errnoOf(error) === 'ESRCH' || errnoOf(error) === 'EINVAL') return;
    throw error;
  }
  try {
    if (isMeant()) pidfdSignal(pidfd, SIGKILL);
  } finally {
    closeSync(pidfd);
  }
}

const doesNotEnd = (name: string) =>
  new DarkroomError('unavailable', `${name} was killed and does not end`, {
    retryable: true,
    hint: 'A process in it waits in the kernel, for a disk most likely; see dmesg.',
  });

/** What crun has to say of a step that it could not start. */
export async function lastWords(log: string): Promise<string> {
  return (await readFile(log, 'utf8').catch(() => '')).trim();
}
