import { readFile, statfs } from 'node:fs/promises';
import { errnoOf } from '../platform/errors.ts';
import type { ContainerHost } from './container/container-host.ts';
import { hasDisk } from './container/disk/sandbox-disks.ts';
import { sandboxPaths } from './container/layout.ts';
import type { LiveContainer } from './container/live-container.ts';
import type { SandboxUsage } from './types.ts';

/** What a sandbox takes of the machine now. Everything but the disk is of this run. */
export async function readUsage(
  host: ContainerHost,
  id: string,
  container: LiveContainer | undefined,
): Promise<SandboxUsage> {
  if (container === undefined) {
    const size = host.disks.sizeOfStopped(id);
    return size === undefined
      ? {}
      : { disk: { usedBytes: size.totalBytes - size.freeBytes, totalBytes: size.totalBytes } };
  }
  const [cgroup, oomKills, disk, network] = await Promise.all([
    host.cgroups.usage(id),
    host.cgroups.oomKills(id),
    diskOf(host, id, container.rootPid),
    networkOf(container.pid),
  ]);
  // Its pid may have passed to another process during the look.
  if (!container.isAlive() || cgroup === undefined) return {};
  return {
    run: {
      memoryBytes: cgroup.memoryBytes,
      cacheBytes: cgroup.cacheBytes,
      memoryLimitBytes: cgroup.memoryLimitBytes,
      cpuMicros: cgroup.cpuMicros,
      pids: cgroup.pids,
      oomKills: oomKills ?? 0,
      ...network,
    },
    ...(disk === undefined ? {} : { disk }),
  };
}

/** An overlay answers for the file system that it writes to. A plain directory has the whole pool there, which says nothing. */
async function diskOf(host: ContainerHost, id: string, pid: number): Promise<SandboxUsage['disk']> {
  if (!hasDisk(sandboxPaths(host.layout, id).dir)) return undefined;
  try {
    const { bsize, blocks, bfree } = await statfs(`/proc/${pid}/root/`);
    return { usedBytes: (blocks - bfree) * bsize, totalBytes: blocks * bsize };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** The counters of its own interfaces, all but loopback. */
async function networkOf(pid: number): Promise<{ rxBytes: number; txBytes: number }> {
  const total = { rxBytes: 0, txBytes: 0 };
  const text = await readFile(`/proc/${pid}/net/dev`, 'utf8').catch((error: unknown) => {
    if (isGone(error)) return '';
    throw error;
  });
  for (const line of text.split('\n').slice(2)) {
    const [name, counters] = line.split(':');
    if (counters === undefined || name?.trim() === 'lo') continue;
    const fields = counters.trim().split(/\s+/).map(Number);
    total.rxBytes += fields[0] ?? 0;
    total.txBytes += fields[8] ?? 0;
  }
  return total;
}

function isGone(error: unknown): boolean {
  return ['ENOENT', 'ESRCH', 'EINVAL'].includes(errnoOf(error) ?? '');
}
