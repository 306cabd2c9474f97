import { closeSync, constants, mkdirSync, openSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../platform/errors.ts';
import type { ContainerHost } from '../container/container-host.ts';
import { distinctLayers, openMerged, unmountQuietly } from '../container/overlay.ts';
import type { MergedTree } from '../step-types.ts';
import { stepLayout } from './step-layout.ts';

const OPEN_DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY;

let lastTree = 0;

/**
 * A descriptor is all that there is of it: nobody else comes across the mount, and nothing stays when the server is killed.
 */
export async function openMergedTree(host: ContainerHost, layers: readonly string[]): Promise<MergedTree> {
  const { emptyDir } = stepLayout(host.layout);
  if (layers.length === 0) return treeOf([openSync(emptyDir, OPEN_DIRECTORY)]);
  // With a second one where there is one alone, which may have marks of what is not there as well.
  const distinct = [emptyDir, ...distinctLayers(layers)];
  try {
    const mounted = openMerged(distinct);
    try {
      return treeOf([openSync(`/proc/self/fd/${mounted}`, OPEN_DIRECTORY), mounted]);
    } catch (error) {
      closeSync(mounted);
      throw error;
    }
  } catch (error) {
    if (!['EINVAL', 'ENOSYS', 'EPERM'].includes(errnoOf(error) ?? '')) throw error;
    return openByMount(host, distinct);
  }
}

/** For kernels that do not append layers; a mount that was let go stays for as long as it is open. */
async function openByMount(host: ContainerHost, layers: readonly string[]): Promise<MergedTree> {
  lastTree += 1;
  const target = join(stepLayout(host.layout).stepsDir, `tree-${process.pid}-${lastTree}`);
  mkdirSync(target, { mode: 0o700 });
  try {
    await host.mountOverlay({ layers, target });
    return treeOf([openSync(target, OPEN_DIRECTORY)]);
  } finally {
    unmountQuietly(target);
    rmdirSync(target);
  }
}

function treeOf(descriptors: readonly [number, ...number[]]): MergedTree {
  let open = true;
  return {
    directory: descriptors[0],
    close() {
      if (open) for (const fd of descriptors) closeSync(fd);
      open = false;
    },
  };
}
