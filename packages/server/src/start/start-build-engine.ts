import { join } from 'node:path';
import { createBaseImages } from '../builds/base-images-from-registries.ts';
import { createCacheBounds } from '../builds/cache/cache-bounds.ts';
import { createCacheSweeper } from '../builds/cache/cache-sweeper.ts';
import { createStepCache } from '../builds/cache/create-step-cache.ts';
import { createTreeCollector } from '../builds/contexts/collect-trees.ts';
import type { ContextStore } from '../builds/contexts/context-store.ts';
import { openContextTrees } from '../builds/contexts/context-trees.ts';
import { readPlatform } from '../builds/dockerfile/platform.ts';
import { createBuildEngine } from '../builds/engine/build-engine.ts';
import { createBuildFiles } from '../builds/files/build-files.ts';
import { createRemoteFetcher } from '../builds/files/fetch-remote.ts';
import type { BuildEngine } from '../builds/types.ts';
import type { Collector } from '../garbage/collector.ts';
import { hostPlatform, platformName } from '../images/registry/platform.ts';
import { DarkroomError } from '../platform/errors.ts';
import type { LayerSweeper } from '../snapshots/layer-sweeper.ts';
import { credentialsFor } from '../tenancy/registries.ts';
import type { Ground } from './ground.ts';
import type { Machine } from './start-machine.ts';

export type BuildGround = Pick<Ground, 'config' | 'log' | 'closers' | 'db' | 'secrets'> & {
  instance: Pick<Ground['instance'], 'id' | 'runnerId'>;
};

export interface BuildEngineSite {
  machine: Pick<Machine, 'layers' | 'puller'> &
    Partial<Pick<Machine, 'health'>> & { runtime: Pick<Machine['runtime'], 'steps'> };
  contexts: ContextStore;
  poolRoot: string;
  layerSweeper: LayerSweeper;
}

export interface StartedEngine {
  engine: BuildEngine;
  /** A build has ended: the cache may have become too large. */
  noteEnd(): void;
  /** The disk is full: what is needed least goes. Answers how much went. */
  makeRoom(): Promise<number>;
  /** What builds keep, and may be taken. */
  collectors: Readonly<Record<string, Collector>>;
  /** Forgets results of steps and base images of an organization, or of all. Answers how many. */
  clearCache(organizationId: string | undefined): Promise<number>;
}

const TREES_IDLE_MS = 10 * 60_000;

/** The engine, and all that it stands on. */
export async function startBuildEngine(ground: BuildGround, site: BuildEngineSite): Promise<StartedEngine> {
  const { config, log, closers, db, secrets, instance } = ground;
  const { machine, poolRoot, layerSweeper } = site;
  const { layers } = machine;
  const { idBase, idCount } = config.runtime;
  const { runnerId } = instance;

  const files = createBuildFiles({ idBase, idCount });
  closers.add('files of builds', () => files.close());
  const { caFiles } = config.registries;
  const fetcher = createRemoteFetcher({ idBase, caFiles, allowInternal: config.builds.allowInternalSources });
  closers.add('fetcher of builds', () => fetcher.close());
  const contexts = await openContextTrees({
    directory: join(poolRoot, 'build-contexts'),
    store: site.contexts,
    files,
    maxBytes: config.builds.maxContextBytes,
  });
  const trees = setInterval(() => {
    contexts
      .sweep(TREES_IDLE_MS)
      .catch((error: unknown) => log.warn({ err: error }, 'files of builds could not be swept'));
  }, TREES_IDLE_MS);
  closers.add('sweep of files of builds', () => clearInterval(trees));

  const cache = createStepCache({ db, layers, runnerId, log, isDamaged: machine.health?.isDamaged });
  closers.add('build cache', () => cache.close());
  const bounds = createCacheBounds({ db, layers, runnerId });
  layerSweeper.shrinkFirst(bounds.shrinkByHalf);
  const { cacheMaxBytes, cacheMaxAgeDays, cacheMountMaxBytes, stepConcurrency } = config.builds;
  const settings = { maxBytes: cacheMaxBytes, maxAgeDays: cacheMaxAgeDays };
  const sweeper = createCacheSweeper({ cache, bounds, layerSweeper, settings, log });
  closers.add('sweep of the build cache', () => sweeper.close());

  const engine = createBuildEngine({
    steps: machine.runtime.steps,
    layers,
    health: machine.health,
    cache,
    baseImages: createBaseImages({
      db,
      puller: machine.puller,
      layers,
      runnerId,
      credentialsFor: (organizationId) => credentialsFor({ db, secrets }, organizationId),
    }),
    files,
    fetcher,
    contexts,
    settings: {
      poolRoot,
      idBase,
      idCount,
      platform: ownPlatform(),
      stepConcurrency,
      cacheMountBytes: cacheMountMaxBytes,
    },
    log,
  });
  closers.add('build engine', () => engine.close());
  return {
    engine,
    noteEnd: () => sweeper.request(),
    makeRoom: async () => (await contexts.sweep(0)) + (await engine.makeRoom()) + (await layerSweeper.makeRoom()),
    collectors: {
      'the build cache': sweeper,
      'files of builds': createTreeCollector(contexts, TREES_IDLE_MS),
      'caches of builds': engine.cacheMounts,
    },
    clearCache: (organizationId) => sweeper.clear(organizationId),
  };
}

function ownPlatform() {
  const name = platformName(hostPlatform());
  const platform = readPlatform(name);
  if (platform === undefined) throw new DarkroomError('internal', `nothing can be built for ${name}`);
  return platform;
}
