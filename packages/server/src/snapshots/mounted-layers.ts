import { keepMounted } from '../images/layer-disk.ts';
import type { Layer } from '../images/types.ts';
import { DarkroomError } from '../platform/errors.ts';
import type { LayerKeeper } from './layer-keeper.ts';

/** Layers that stay as they are given out, also those on disks, until this is disposed. */
export interface MountedLayers extends Disposable {
  readonly layers: readonly Layer[];
}

/**
 * The layers, in this order; raises when one is not there. Also tells the store that they are wanted, so that a sweep which began before the row
 * that names them was there leaves them alone. Held until an overlay has them: a start may wait for its turn so long that they would be empty by then.
 */
export async function mountedLayers(
  store: Pick<LayerKeeper, 'get'>,
  diffIds: readonly string[],
  owner: string,
): Promise<MountedLayers> {
  using mounts = new DisposableStack();
  const found = await Promise.allSettled(
    diffIds.map(async (diffId) => {
      const layer = await store.get(diffId);
      if (layer === undefined) {
        throw new DarkroomError('unavailable', `Layer ${diffId} of ${owner} is not on this machine`);
      }
      if (layer.onDisk === true) mounts.use(keepMounted(layer.path));
      return layer;
    }),
  );
  const layers = found.map((each) => {
    if (each.status === 'rejected') throw each.reason;
    return each.value;
  });
  const kept = mounts.move();
  return { layers, [Symbol.dispose]: () => kept.dispose() };
}
