import { closeSync, readFileSync } from 'node:fs';
import { errnoOf } from '../../platform/errors.ts';
import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import { pidfdOpen, pidfdSignal } from '../../platform/libc-process.ts';
import type { ContainerEngine, ContainerProcess } from './engine.ts';

const SIGKILL = 9;

/** A container that runs: its pid 1, held by a descriptor that no other process can take over. */
export interface LiveContainer {
  readonly id: string;
  readonly engine: ContainerEngine;
  readonly pid: number;
  /** Whose root directory is the container's. */
  readonly rootPid: number;
  readonly env: Readonly<Record<string, string>>;
  readonly network: { index: number };
  /** Its end was asked for, and is nobody's news. */
  endsOnPurpose: boolean;
  /** Its processes stand still: one that joins them would too. */
  isPaused: boolean;
  /** How many of the kernel's kills for want of memory somebody was told of. */
  oomKillsSeen: number;
  isAlive(): boolean;
  /** SIGKILLs pid 1; the kernel then kills everything else in its pid namespace. */
  kill(): void;
  /** Lets go of the descriptor. */
  forget(): void;
}

export interface LiveContainerInput {
  id: string;
  engine: ContainerEngine;
  status: ContainerProcess;
  env: Readonly<Record<string, string>>;
  network: { index: number };
}

/** Undefined when pid 1 has ended, or its pid is another process's by now. `onEnd` is called once, when it ends. */
export function holdContainer(
  input: LiveContainerInput,
  watcher: ExitWatcher,
  onEnd: (container: LiveContainer) => void,
): LiveContainer | undefined {
  const { pid, startTime } = input.status;
  const pidfd = openIfThere(pid);
  if (pidfd === undefined) return undefined;
  // Compared after the descriptor is open: from here on the pid cannot pass to another process unseen.
  const watched = runs(pid, startTime) ? openIfThere(pid) : undefined;
  if (watched === undefined) {
    closeSync(pidfd);
    return undefined;
  }
  let held = true;
  const container: LiveContainer = {
    id: input.id,
    engine: input.engine,
    pid,
    rootPid: input.status.rootPid,
    env: input.env,
    network: input.network,
    endsOnPurpose: false,
    isPaused: false,
    oomKillsSeen: 0,
    isAlive: () => held && runs(pid, startTime),
    kill: () => {
      if (held) pidfdSignal(pidfd, SIGKILL);
    },
    forget: () => {
      if (held) closeSync(pidfd);
      held = false;
    },
  };
  watcher.watch(watched, () => onEnd(container));
  return container;
}

/** A signal reaches the dead too until somebody has taken their exit status, which here the host's init does when it likes. */
function runs(pid: number, startTime: number): boolean {
  const stat = processStat(pid);
  return stat !== undefined && stat.startTime === startTime && stat.state !== 'Z' && stat.state !== 'X';
}

function openIfThere(pid: number): number | undefined {
  try {
    return pidfdOpen(pid);
  } catch (error) {
    if (errnoOf(error) === 'ESRCH' || errnoOf(error) === 'EINVAL') return undefined;
    throw error;
  }
}

export interface ProcessStat {
  /** As ps shows it: Z and X are dead and wait only to be noticed. */
  state: string;
  parent: number;
  startTime: number;
}

/** From /proc/<pid>/stat; undefined when there is no such process. */
export function processStat(pid: number): ProcessStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return undefined;
    throw error;
  }
  // The name in parentheses may hold anything, parentheses too; fields are counted from behind its last one (field 3 is first).
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? 'X', parent: Number(fields[1]), startTime: Number(fields[19]) };
}
