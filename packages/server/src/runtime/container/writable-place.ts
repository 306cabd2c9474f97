import { existsSync, renameSync } from 'node:fs';
import type { ContainerSpec } from '../types.ts';
import type { ContainerHost } from './container-host.ts';
import { hasDisk, upperOf } from './disk/sandbox-disks.ts';
import { sandboxPaths } from './layout.ts';
import { copyRootMode, makePlainUpper, makeSandboxDir } from './sandbox-dir.ts';

/** Where the overlay of a starting sandbox writes to. */
export interface WritablePlace {
  upper: string;
  work: string;
  /** It was not there before. */
  made: boolean;
  /** The overlay has what it needs of it, or is not going to be. */
  letGo(): void;
}

/**
 * What a sandbox has from an earlier run; or new, with a disk of its own where the spec bounds it. A sandbox keeps the kind that
 * it was made with: an older one has a plain directory, without a bound of its own.
 */
export async function openWritable(host: ContainerHost, spec: ContainerSpec, topLayer: string): Promise<WritablePlace> {
  const { dir, upper, work } = sandboxPaths(host.layout, spec.id);
  const { diskBytes } = spec.limits;
  const made = !existsSync(dir);
  if (made && diskBytes !== undefined) return newDisk(host, dir, diskBytes, topLayer);
  if (made) makeSandboxDir(host.layout, spec.id, (draft) => makePlainUpper(draft, { topLayer, idBase: host.idBase }));
  else if (hasDisk(dir)) {
    const disk = await host.disks.mount(spec.id, diskBytes ?? 0);
    return { ...upperOf(disk.root), made, letGo: disk.unmount };
  }
  return { upper, work, made, letGo: () => {} };
}

async function newDisk(
  host: ContainerHost,
  directory: string,
  bytes: number,
  topLayer: string,
): Promise<WritablePlace> {
  const disk = await host.disks.take(bytes);
  try {
    const paths = upperOf(disk.root);
    copyRootMode(topLayer, paths.upper);
    renameSync(disk.directory, directory);
    return { ...paths, made: true, letGo: disk.unmount };
  } catch (error) {
    await host.disks.discard(disk);
    throw error;
  }
}
