import type { ContainerHost } from './container/container-host.ts';
import { hasDisk } from './container/disk/sandbox-disks.ts';
import { sandboxPaths } from './container/layout.ts';
import type { ChangedLimits } from './types.ts';

/** The disk first: it is what may be refused without a change, and it cannot be taken back. */
export async function resizeContainer(host: ContainerHost, id: string, limits: ChangedLimits): Promise<void> {
  if (limits.diskBytes !== undefined && hasDisk(sandboxPaths(host.layout, id).dir)) {
    await host.disks.grow(id, limits.diskBytes);
  }
  await host.cgroups.apply(id, limits);
}
