import { createContextCollector } from '../builds/contexts/collect-contexts.ts';
import type { ContextStore } from '../builds/contexts/context-store.ts';
import type { Builds } from '../builds/index.ts';
import type { Collector } from '../garbage/collector.ts';
import { createGarbage, type Garbage } from '../garbage/garbage.ts';
import { createOldRows } from '../garbage/old-rows.ts';
import type { OpenLayerStore } from '../images/layer-store.ts';
import type { Metrics } from '../platform/metrics.ts';
import type { Sandboxes } from '../sandboxes/index.ts';
import { createDamagedLayers } from '../snapshots/damaged-layers.ts';
import type { LayerKeeper } from '../snapshots/layer-keeper.ts';
import type { LayerSweeper } from '../snapshots/layer-sweeper.ts';
import { createStaging } from '../snapshots/staging.ts';
import type { Ground } from './ground.ts';

export type GarbageGround = Pick<Ground, 'config' | 'log' | 'closers' | 'db'> & {
  instance: Pick<Ground['instance'], 'runnerId'>;
  metrics?: Pick<Metrics, 'addCollected'>;
};

export interface GarbageSite {
  store: OpenLayerStore;
  layers: LayerKeeper;
  sweeper: LayerSweeper;
  contexts: ContextStore;
  builds: Pick<Builds, 'collectors'>;
  sandboxes?: Pick<Sandboxes, 'collectors'>;
}

const SWEEP_MS = 60 * 60_000;

/** All kinds of what may be taken. Those that nobody else looks after are swept here. */
export function startGarbage(
  { config, log, closers, db, instance, metrics }: GarbageGround,
  site: GarbageSite,
): Garbage {
  const { runnerId } = instance;
  const graceSeconds = config.gc.graceMinutes * 60;
  const { store, layers } = site;
  const ownTurn: Record<string, Collector> = {
    ...site.sandboxes?.collectors,
    'damaged layers': createDamagedLayers({ db, store, layers, runnerId, graceSeconds }),
  };
  const sweep = async () => {
    for (const [what, collector] of Object.entries(ownTurn)) {
      try {
        const gone = await collector.collect({ withoutGrace: false });
        metrics?.addCollected(gone);
        if (gone.length > 0) log.info({ gone: gone.length }, `${what} were removed`);
      } catch (error) {
        log.warn({ err: error }, `${what} could not be swept`);
      }
    }
  };
  let running = sweep();
  const timer = setInterval(() => {
    running = running.then(sweep);
  }, SWEEP_MS);
  closers.add('garbage', async () => {
    clearInterval(timer);
    await running;
  });
  return createGarbage({
    collectors: {
      ...ownTurn,
      ...site.builds.collectors,
      uploads: createContextCollector(site.contexts, config.builds),
      'unfinished layers': createStaging(store),
      'old rows': createOldRows({ db, keep: config.keep }),
      // What others let go of.
      layers: site.sweeper,
    },
    // Layers are counted where they are swept.
    onCollected: (items) => metrics?.addCollected(items.filter(({ kind }) => kind !== 'layer')),
    log,
  });
}
