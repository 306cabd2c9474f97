import { closeSync, readdirSync, readFileSync } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DarkroomError, errnoOf } from '../../platform/errors.ts';
import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import { pidfdOpen, pidfdSignal } from '../../platform/libc-process.ts';
import { allEnded } from './await-ends.ts';
import { processStat } from './live-container.ts';

const SIGKILL = 9;
const SIGSTOP = 19;
/** Each round finds what was forked during the one before; with all known ones stopped there is soon nobody left to fork. */
const MAX_ROUNDS = 200;
const KILL_TIMEOUT_MS = 20_000;

/**
 * Ends everything below `root`, a subreaper and a child of `parent`: whatever a process does to its session or its parents, it
 * stays below. First all are stopped, `root` before the others and then again and again until no new one is found, so that none
 * can fork away from the signal that kills; `root` is killed last, because its orphans would go to pid 1. Bounded also against
 * a fork bomb, which the limit of processes holds.
 */
export async function killTree(watcher: ExitWatcher, root: number, parent: number): Promise<void> {
  const held = new Map<number, number>();
  const rootFd = hold(root, new Set([parent]));
  if (rootFd === undefined) return;
  try {
    pidfdSignal(rootFd, SIGSTOP);
    for (let round = 0; round < MAX_ROUNDS; round += 1) {
      if (stopNew(root, held) === 0) break;
      // Between rounds, the server's other work: a thousand processes take some ten milliseconds to go through.
      await nextTurn();
    }
    for (const pidfd of held.values()) pidfdSignal(pidfd, SIGKILL);
    pidfdSignal(rootFd, SIGKILL);
  } catch (error) {
    for (const pidfd of [rootFd, ...held.values()]) closeSync(pidfd);
    throw error;
  }
  if (await allEnded(watcher, [rootFd, ...held.values()], KILL_TIMEOUT_MS)) return;
  throw new DarkroomError('internal', `processes below ${root} cannot be killed`, {
    hint: 'They wait in the kernel (state D), for a disk most likely; see dmesg.',
  });
}

/** Stops descendants that are not held yet; how many that were. */
function stopNew(root: number, held: Map<number, number>): number {
  let found = 0;
  const queue = [root];
  const seen = new Set<number>([root]);
  for (let parent = queue.shift(); parent !== undefined; parent = queue.shift()) {
    for (const pid of childrenOf(parent)) {
      if (seen.has(pid)) continue;
      seen.add(pid);
      queue.push(pid);
      if (held.has(pid)) continue;
      const pidfd = hold(pid, seen);
      if (pidfd === undefined) continue;
      held.set(pid, pidfd);
      pidfdSignal(pidfd, SIGSTOP);
      found += 1;
    }
  }
  return found;
}

/** Between the list and the descriptor the pid may have passed to another process: only one with a parent in the tree is meant. */
function hold(pid: number, tree: ReadonlySet<number>): number | undefined {
  let pidfd: number;
  try {
    pidfd = pidfdOpen(pid);
  } catch (error) {
    if (errnoOf(error) === 'ESRCH') return undefined;
    throw error;
  }
  const stat = processStat(pid);
  if (stat !== undefined && tree.has(stat.parent) && pidfdSignal(pidfd, 0)) return pidfd;
  closeSync(pidfd);
  return undefined;
}

/** Of all its threads: each has its own. */
export function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
      const text = readFileSync(`/proc/${pid}/task/${thread}/children`, 'latin1').trim();
      return text === '' ? [] : text.split(' ').map(Number);
    });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') return [];
    throw error;
  }
}
