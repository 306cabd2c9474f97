import { readdirSync, rmdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, messageOf } from '../../platform/errors.ts';
import type { ContainerHost } from '../container/container-host.ts';
import type { Crun } from '../container/crun.ts';
import { unmountQuietly } from '../container/overlay.ts';
import { removeTree } from '../container/remove-tree.ts';
import { killMembers } from './step-end.ts';
import { stepPaths } from './step-layout.ts';

/** Takes away all that a step had while it ran. Idempotent; what cannot be done does not keep the rest from it. */
export async function cleanUpStep(
  host: Pick<ContainerHost, 'layout' | 'cgroups' | 'network' | 'log'>,
  crun: Crun,
  name: string,
  network: { index: number } | undefined,
): Promise<void> {
  const paths = stepPaths(host.layout, name);
  const steps: (() => unknown)[] = [
    () => crun.delete(name),
    // A crun that was killed itself leaves what it had just begun.
    () => killMembers(host, name),
    () => host.cgroups.remove(name),
    () => unmountStep(paths),
    () => removeShallow(paths.dir),
    () => removeTree(paths.scratch),
    () => (network ? host.network.release(network) : undefined),
  ];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      host.log.error({ step: name, error: messageOf(error) }, 'an ended step could not be cleaned up completely');
    }
  }
}

/** Ours; the step has mounts of its own, which go with its processes. */
export function unmountStep({ rootfs, etc, mounts, files }: ReturnType<typeof stepPaths>): void {
  unmountQuietly(rootfs);
  unmountQuietly(etc);
  // The later ones are made from the earlier ones.
  for (const name of namesIn(mounts).reverse()) unmountQuietly(join(mounts, name));
  unmountQuietly(files);
}

/** Never goes into what is still mounted, which may be of somebody else: a place that something is mounted on cannot be removed. */
function removeShallow(directory: string, depth = 0): void {
  for (const name of namesIn(directory)) {
    const path = join(directory, name);
    try {
      unlinkSync(path);
    } catch (error) {
      if (errnoOf(error) !== 'EISDIR') throw error;
      if (depth === 0 && name === 'mounts') removeShallow(path, depth + 1);
      else rmdirSync(path);
    }
  }
  try {
    rmdirSync(directory);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
