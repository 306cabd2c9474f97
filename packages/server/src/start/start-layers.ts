import { join } from 'node:path';
import { createLayerHealth, type LayerHealth } from '../images/health/layer-health.ts';
import { soundPuller } from '../images/health/sound-puller.ts';
import { createLayerStore, type OpenLayerStore } from '../images/layer-store.ts';
import { createImagePuller } from '../images/pull.ts';
import type { ImagePuller } from '../images/types.ts';
import { createUnpacker } from '../images/unpack/unpacker.ts';
import type { DiskGuard } from '../platform/disk-guard.ts';
import { createLayerKeeper, type LayerKeeper } from '../snapshots/layer-keeper.ts';
import { createRefetch, type RefetchGround } from './fetch-layer-again.ts';
import type { Ground } from './ground.ts';
import { measuredLayers, measuredPuller, roomyLayers } from './measured-puller.ts';

export interface Layers {
  /** As it is on the disk; whoever uses layers goes through the keeper. */
  store: OpenLayerStore;
  layers: LayerKeeper;
  health: LayerHealth;
  puller: ImagePuller;
  fetchAgain: ReturnType<typeof createRefetch>['fetchAgain'];
}

export type LayersGround = Pick<Ground, 'config' | 'log' | 'closers'> &
  RefetchGround &
  Partial<Pick<Ground, 'metrics'>>;

/** The floor of images: layers, and what fetches them; no more of them than `disk` has room for. */
export async function startLayers(
  ground: LayersGround,
  poolRoot: string,
  disk?: Pick<DiskGuard, 'assertRoom' | 'within'>,
): Promise<Layers> {
  const { config, log, closers, metrics } = ground;
  const { idBase, idCount } = config.runtime;
  const unpacker = createUnpacker({ idBase, idCount });
  closers.add('unpacker', () => unpacker.close());
  // The keeper has a grace of its own, and knows who holds what.
  const store = await createLayerStore(join(poolRoot, 'layers'), { graceMs: 0 });
  closers.add('layers', () => store.close());
  const refetch = createRefetch(ground, () => puller);
  const health = await createLayerHealth({ store, log, ...refetch });
  closers.add('health of layers', () => health.close());
  const watched = disk === undefined ? health.watch(store) : roomyLayers(health.watch(store), disk);
  const layers = createLayerKeeper(metrics === undefined ? watched : measuredLayers(watched, metrics));
  const puller = createImagePuller({ layers, unpacker, registries: config.registries, log });
  closers.add('puller', () => puller.close());
  const measured = metrics === undefined ? puller : measuredPuller(puller, metrics);
  return { store, layers, health, puller: soundPuller(measured, health), fetchAgain: refetch.fetchAgain };
}
