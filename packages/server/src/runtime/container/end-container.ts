import { closeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { errnoOf, messageOf } from '../../platform/errors.ts';
import { pidfdOpen, pidfdSignal } from '../../platform/libc-process.ts';
import { allEnded } from './await-ends.ts';
import type { ContainerHost } from './container-host.ts';
import { runPaths } from './layout.ts';
import type { LiveContainer } from './live-container.ts';
import { unmountQuietly } from './overlay.ts';

const SIGTERM = 15;

/** Takes away all that a container had while it ran. Idempotent; what one step cannot do does not keep the others from it. */
export async function cleanUpContainer(
  host: ContainerHost,
  id: string,
  network: { index: number } | undefined,
): Promise<void> {
  const runtime = runPaths(host.layout, id);
  const steps: (() => unknown)[] = [
    ...Object.values(host.engines).map((engine) => () => engine.delete(host, id)),
    () => host.cgroups.remove(id),
    () => unmountQuietly(runtime.rootfs),
    () => unmountQuietly(runtime.etc),
    () => host.disks.detached(id),
    () => rm(runtime.dir, { recursive: true, force: true }),
    () => (network ? host.network.release(network) : undefined),
  ];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      host.log.error({ sandbox: id, error: messageOf(error) }, 'an ended sandbox could not be cleaned up completely');
    }
  }
}

/**
 * SIGTERM to everything but pid 1, which would take the others along at once; resolves when they have ended, or when the grace
 * is over. What is started meanwhile gets the signal too.
 */
export async function terminateProcesses(
  host: ContainerHost,
  container: LiveContainer,
  graceMs: number,
): Promise<void> {
  const deadline = performance.now() + graceMs;
  const signalled = new Set<number>();
  while (container.isAlive() && performance.now() < deadline) {
    const held = await holdProcesses(host, container);
    if (held.size === 0) return;
    const ends = [...held].map(([pid, pidfd]) => {
      if (!signalled.has(pid)) pidfdSignal(pidfd, SIGTERM);
      signalled.add(pid);
      return pidfd;
    });
    if (!(await allEnded(host.watcher, ends, deadline - performance.now()))) return;
  }
}

/** Descriptors of the container's processes, each checked to be still one of them. */
async function holdProcesses(host: ContainerHost, container: LiveContainer): Promise<Map<number, number>> {
  const held = new Map<number, number>();
  for (const pid of await host.cgroups.pids(container.id)) {
    if (pid === container.pid) continue;
    try {
      held.set(pid, pidfdOpen(pid));
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') throw error;
    }
  }
  const members = new Set(await host.cgroups.pids(container.id));
  for (const [pid, pidfd] of held) {
    if (members.has(pid)) continue;
    closeSync(pidfd);
    held.delete(pid);
  }
  return held;
}
