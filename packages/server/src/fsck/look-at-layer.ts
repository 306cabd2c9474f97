import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { LayerVerdict } from '../images/health/compare-tree.ts';
import { layerDiskOf } from '../images/layer-disk.ts';
import { layerDiskFault } from '../images/layer-disk-fault.ts';
import type { Layer } from '../images/types.ts';
import { messageOf } from '../platform/errors.ts';
import { SystemCallError } from '../platform/libc.ts';
import { forgetCached } from '../platform/libc-copy.ts';
import type { Scene } from './types.ts';

/** What a layer is now, whatever was found before. Raises when it could not be looked at, which says nothing of it. */
export async function lookAtLayer(scene: Scene, layer: Layer): Promise<LayerVerdict> {
  const fault = layer.onDisk === true ? layerDiskFault(dirname(layer.path)) : undefined;
  if (fault !== undefined) return { kind: 'damaged', differences: [fault] };
  if (scene.depth === 'quick') return { kind: 'unrecorded' };
  try {
    // One on a disk is mounted by that.
    await scene.store.get(layer.diffId);
  } catch (error) {
    if (isOfItsDisk(error)) return { kind: 'damaged', differences: [messageOf(error)] };
    throw error;
  }
  // Below the file system on it, too.
  if (layer.onDisk === true && scene.depth === 'bytes') await forgetCachedDisk(dirname(layer.path));
  return scene.health.verifyLayer(layer.path, { contents: scene.depth === 'bytes', signal: scene.signal });
}

async function forgetCachedDisk(layerDirectory: string): Promise<void> {
  await using disk = await open(layerDiskOf(layerDirectory), constants.O_RDONLY | constants.O_NOFOLLOW);
  forgetCached(disk.fd);
}

/** Whether one that was found damaged is what it was, bytes and all: an error may have been of a moment. */
export async function isSoundAfterAll(scene: Scene, diffId: string): Promise<boolean> {
  const layer = (await scene.store.list()).find((each) => each.diffId === diffId);
  return layer !== undefined && (await lookAtLayer({ ...scene, depth: 'bytes' }, layer)).kind === 'sound';
}

/** What the kernel says of a file system that makes no sense. Too few devices or descriptors say nothing of the layer. */
function isOfItsDisk(error: unknown): boolean {
  const cause = error instanceof Error ? error.cause : undefined;
  if (!(cause instanceof SystemCallError) || cause.syscall !== 'mount') return false;
  return ['EUCLEAN', 'EBADMSG', 'EINVAL', 'EIO', 'ENOENT'].includes(cause.code);
}
