import { existsSync } from 'node:fs';
import type { ContainerSpec } from '../types.ts';
import type { ContainerHost } from './container-host.ts';
import { hasDisk } from './disk/sandbox-disks.ts';
import { sandboxPaths } from './layout.ts';
import { copyRootMode, makePlainUpper, makeSandboxDir } from './sandbox-dir.ts';

/** Where the overlay of a starting sandbox writes to. */
export interface WritablePlace {
  upper: string;
  work: string;
  /** The overlay has what it needs of it, or is not going to be. */
  letGo(): void;
}

/** Makes the directory of a new sandbox, with a disk of its own where the spec bounds it. False when it was there. */
export async function ensureWritable(host: ContainerHost, spec: ContainerSpec, topLayer: string): Promise<boolean> {
  const { dir } = sandboxPaths(host.layout, spec.id);
  if (existsSync(dir)) return false;
  const { diskBytes } = spec.limits;
  await makeSandboxDir(host.layout, spec.id, (draft) =>
    diskBytes === undefined
      ? makePlainUpper(draft, { topLayer, idBase: host.idBase })
      : host.disks.make(draft, diskBytes),
  );
  return true;
}

/** A sandbox keeps the kind of place that it was made with: an older one has a plain directory, without a bound of its own. */
export async function openWritable(
  host: ContainerHost,
  spec: ContainerSpec,
  how: { topLayer: string; made: boolean },
): Promise<WritablePlace> {
  const { dir, upper, work } = sandboxPaths(host.layout, spec.id);
  if (!hasDisk(dir)) return { upper, work, letGo: () => {} };
  const disk = await host.disks.mount(spec.id, spec.limits.diskBytes ?? 0);
  try {
    if (how.made) copyRootMode(how.topLayer, disk.upper);
  } catch (error) {
    disk.unmount();
    throw error;
  }
  return { upper: disk.upper, work: disk.work, letGo: disk.unmount };
}
