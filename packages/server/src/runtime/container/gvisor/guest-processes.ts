import { setTimeout as sleep } from 'node:timers/promises';
import { DarkroomError } from '../../../platform/errors.ts';
import type { LiveContainer } from '../live-container.ts';
import type { Runsc } from './runsc.ts';
import { runscName } from './runsc-name.ts';

const KILL_TIMEOUT_MS = 20_000;
const LOOK_AGAIN_MS = 50;
/** Each order is a process of the host. */
const ORDERS_AT_ONCE = 8;

export interface GuestProcess {
  pid: number;
  parent: number;
}

/** What runs in a gVisor sandbox, by gVisor's own pids. */
export async function guestProcesses(runsc: Runsc, id: string): Promise<GuestProcess[]> {
  return processesIn(await runsc.output(['ps', runscName(id)]));
}

/** `UID PID PPID …`, under a line of names. */
export function processesIn(table: string): GuestProcess[] {
  return table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([, pid, parent]) =>
      Number.isInteger(pid) && Number.isInteger(parent) && pid !== undefined && parent !== undefined
        ? [{ pid, parent }]
        : [],
    );
}

/** A process and all below it, itself first; nothing when it is not there. */
export function treeOf(root: number, processes: readonly GuestProcess[]): number[] {
  if (!processes.some(({ pid }) => pid === root)) return [];
  const tree = [root];
  for (const parent of tree) {
    for (const process of processes) {
      if (process.parent === parent && !tree.includes(process.pid)) tree.push(process.pid);
    }
  }
  return tree;
}

/** SIGSTOPs everything below a subreaper until no new one is found, then kills all. Resolves when they are gone. */
export async function killGuestTree(runsc: Runsc, id: string, root: number): Promise<void> {
  const deadline = performance.now() + KILL_TIMEOUT_MS;
  const stopped = new Set<number>();
  for (;;) {
    const found = treeOf(root, await guestProcesses(runsc, id)).filter((pid) => !stopped.has(pid));
    if (found.length === 0) break;
    for (const pid of found) stopped.add(pid);
    await signalGuests(runsc, id, found, 'STOP');
    if (performance.now() > deadline) break;
  }
  // The subreaper last: its orphans would go to pid 1.
  const [first, ...others] = stopped;
  if (first === undefined) return;
  await signalGuests(runsc, id, others, 'KILL');
  await signalGuests(runsc, id, [first], 'KILL');
  while (performance.now() < deadline) {
    const left = (await guestProcesses(runsc, id)).filter(({ pid }) => stopped.has(pid));
    if (left.length === 0) return;
    await sleep(LOOK_AGAIN_MS);
  }
  throw new DarkroomError('internal', `processes below ${root} in sandbox ${id} cannot be killed`);
}

/** SIGTERM to everything but pid 1, which would take the others along at once. What is started meanwhile gets it too. */
export async function terminateGuests(runsc: Runsc, container: LiveContainer, graceMs: number): Promise<void> {
  const deadline = performance.now() + graceMs;
  const signalled = new Set<number>();
  while (container.isAlive() && performance.now() < deadline) {
    const others = (await guestProcesses(runsc, container.id)).map(({ pid }) => pid).filter((pid) => pid !== 1);
    if (others.length === 0) return;
    const unsignalled = others.filter((pid) => !signalled.has(pid));
    for (const pid of unsignalled) signalled.add(pid);
    await signalGuests(runsc, container.id, unsignalled, 'TERM');
    await sleep(Math.min(LOOK_AGAIN_MS, Math.max(0, deadline - performance.now())));
  }
}

/** One that has ended meanwhile is nobody's failure. */
async function signalGuests(runsc: Runsc, id: string, pids: readonly number[], signal: string): Promise<void> {
  for (let from = 0; from < pids.length; from += ORDERS_AT_ONCE) {
    const some = pids.slice(from, from + ORDERS_AT_ONCE);
    await Promise.all(
      some.map((pid) => runsc.call(['kill', '--pid', String(pid), runscName(id), signal]).catch(() => {})),
    );
  }
}
