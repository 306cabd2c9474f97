import { closeSync, constants, lstatSync, mkdirSync, openSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { DarkroomError, errnoOf, messageOf } from '../platform/errors.ts';
import { MNT_DETACH, MS_BIND, MS_NOATIME, MS_NODEV, MS_NOSUID, MS_RDONLY, mount, unmount } from '../platform/libc.ts';
import { attachLoop, deviceNode, mountDevice } from '../platform/libc-block.ts';

/** Beside a layer's `diff`, which is then a directory of this ext4: what a sandbox had written, as it was copied in one piece. */
export const layerDiskOf = (layerDirectory: string) => join(layerDirectory, 'disk.img');

const BLOCK_SIZE = 4096;

/**
 * Makes the layer's `diff` show the directory `root` of its disk, until this process ends. Nothing is ever written to the disk, so that
 * any number of devices may lie over it. Nothing to do when it does already.
 */
export async function mountLayerDisk(layerDirectory: string, root: string): Promise<void> {
  const target = join(layerDirectory, 'diff');
  if (isMounted(layerDirectory)) return;
  // Only a place to mount on: where it is lost, nothing is.
  mkdirSync(target, { recursive: true, mode: 0o700 });
  const whole = join(layerDirectory, 'mnt');
  mkdirSync(whole, { recursive: true, mode: 0o700 });
  try {
    await mountWhole(layerDiskOf(layerDirectory), whole);
    try {
      mount(join(whole, root), target, null, MS_BIND, null);
    } finally {
      unmount(whole, MNT_DETACH);
    }
  } catch (cause) {
    throw new DarkroomError('unavailable', `a captured layer could not be mounted: ${messageOf(cause)}`, {
      hint: 'The kernel log (`dmesg`) may say why; there may be too few loop devices.',
      cause,
    });
  } finally {
    rmdirSync(whole);
  }
}

async function mountWhole(image: string, target: string): Promise<void> {
  const file = openSync(image, 'r');
  try {
    const device = await attachLoop(file, BLOCK_SIZE, () => {});
    try {
      const flags = MS_RDONLY | MS_NOATIME | MS_NOSUID | MS_NODEV;
      await mountDevice(deviceNode(device.number), target, 'ext4', flags, 'noload');
    } finally {
      closeSync(device.fd);
    }
  } finally {
    closeSync(file);
  }
}

/** Sandboxes that have the layer keep it. */
export function unmountLayerDisk(layerDirectory: string): void {
  if (isMounted(layerDirectory)) unmount(join(layerDirectory, 'diff'), MNT_DETACH);
}

/** The same, unless somebody reads it just now; false then. */
export function unmountIdleLayerDisk(layerDirectory: string): boolean {
  try {
    if (isMounted(layerDirectory)) unmount(join(layerDirectory, 'diff'));
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EBUSY') return false;
    throw error;
  }
}

/**
 * A layer that is read for long, by its path: until this is disposed, one on a disk stays mounted, however long ago it was asked for. Without
 * that, it would be empty from one moment to the next. Called as soon as the store has given the layer out.
 */
export function keepMounted(path: string): Disposable {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  return { [Symbol.dispose]: () => closeSync(fd) };
}

/** Whether there is anything of a layer's files: they are gone only where that is certain, and not where the disk does not answer. */
export function isLayerThere(layerDirectory: string): boolean {
  return [join(layerDirectory, 'diff'), layerDiskOf(layerDirectory)].some((path) => {
    try {
      return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
    } catch {
      return true;
    }
  });
}

function isMounted(layerDirectory: string): boolean {
  try {
    return lstatSync(join(layerDirectory, 'diff')).dev !== lstatSync(layerDirectory).dev;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
