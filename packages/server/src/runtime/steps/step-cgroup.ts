import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { errnoOf } from '../../platform/errors.ts';
import { eventFd } from '../../platform/libc-epoll.ts';
import { flatKey, readCgroupFile, readCgroupNumber } from '../cgroup-files.ts';
import type { Cgroups } from '../cgroups.ts';
import type { ContainerLimits } from '../types.ts';

export interface StepSpent {
  ranOutOfMemory: boolean;
  pidsExceeded: boolean;
  peakMemoryBytes: number | undefined;
}

/**
 * The limits of a step lie on a cgroup around the one that crun makes: crun takes its own away as soon as pid 1 has ended, and with it what
 * the kernel had counted there.
 */
export interface StepCgroup {
  /** For crun. */
  path: string;
  spent(): Promise<StepSpent>;
  close(): void;
}

export async function makeStepCgroup(cgroups: Cgroups, name: string, limits: ContainerLimits): Promise<StepCgroup> {
  await cgroups.make(name, limits);
  const file = cgroups.fileOf(name);
  const kills = cgroups.version === 1 ? listenForKills(file('memory', 'memory.oom_control'), file) : undefined;
  return {
    path: `${cgroups.pathFor(name)}/run`,
    async spent() {
      const [peak, events, pidsPeak, pidsEvents] = await Promise.all([
        readCgroupNumber(file('memory', cgroups.version === 2 ? 'memory.peak' : 'memory.max_usage_in_bytes')),
        kills ? undefined : readCgroupFile(file('memory', 'memory.events')),
        readCgroupNumber(file('pids', 'pids.peak')),
        readCgroupFile(file('pids', 'pids.events')),
      ]);
      return {
        ranOutOfMemory: kills?.any() ?? (flatKey(events, 'oom_kill') ?? 0) > 0,
        // v1 counts refusals where the process was, which is gone; its peak is counted all the way up.
        pidsExceeded: (pidsPeak ?? 0) >= limits.pids || (flatKey(pidsEvents, 'max') ?? 0) > 0,
        peakMemoryBytes: peak,
      };
    },
    close: () => kills?.close(),
  };
}

/** v1 counts kills where the victim was, and nowhere above; but it tells those who ask that a limit was reached. */
function listenForKills(control: string, file: (controller: string, name: string) => string) {
  const events = eventFd({ blocking: false });
  try {
    const fd = openSync(control, 'r');
    try {
      writeFileSync(file('memory', 'cgroup.event_control'), `${events} ${fd}`);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    closeSync(events);
    throw error;
  }
  return {
    any() {
      try {
        return readSync(events, Buffer.alloc(8)) > 0;
      } catch (error) {
        if (errnoOf(error) === 'EAGAIN') return false;
        throw error;
      }
    },
    close: () => closeSync(events),
  };
}
