import { closeSync } from 'node:fs';
import { DarkroomError, errnoOf } from '../../../platform/errors.ts';
import { pidfdOpen, pidfdSignal } from '../../../platform/libc-process.ts';
import { allEnded } from '../await-ends.ts';
import type { ContainerHost } from '../container-host.ts';

const SIGKILL = 9;
const MAX_ROUNDS = 20;
const END_TIMEOUT_MS = 5000;

/** Kills everything in a container's cgroup, whether gVisor knows of it or not. */
export async function endProcesses(host: ContainerHost, id: string): Promise<void> {
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const pids = await host.cgroups.pids(id);
    if (pids.length === 0) return;
    const held = pids.flatMap(hold);
    const members = new Set(await host.cgroups.pids(id));
    for (const { pid, fd } of held) if (members.has(pid)) pidfdSignal(fd, SIGKILL);
    const ends = held.filter(({ pid }) => members.has(pid));
    for (const { pid, fd } of held) if (!members.has(pid)) closeSync(fd);
    await allEnded(
      host.watcher,
      ends.map(({ fd }) => fd),
      END_TIMEOUT_MS,
    );
  }
  throw new DarkroomError('unavailable', `processes of sandbox ${id} do not end`, { retryable: true });
}

function hold(pid: number): { pid: number; fd: number }[] {
  try {
    return [{ pid, fd: pidfdOpen(pid) }];
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return [];
    throw error;
  }
}
