import type { ContainerHost } from './container/container-host.ts';
import { hasDisk } from './container/disk/sandbox-disks.ts';
import { sandboxPaths } from './container/layout.ts';
import type { ChangedLimits } from './types.ts';

/** The disk last: what is refused before can be asked for again, and a disk that has grown cannot be taken back. */
export async function resizeContainer(host: ContainerHost, id: string, limits: ChangedLimits): Promise<void> {
  await host.cgroups.apply(id, limits);
  if (limits.diskBytes !== undefined && hasDisk(sandboxPaths(host.layout, id).dir)) {
    await host.disks.grow(id, limits.diskBytes);
  }
}
