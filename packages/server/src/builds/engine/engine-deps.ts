import type { LayerHealth } from '../../images/health/layer-health.ts';
import type { LayerStore } from '../../images/types.ts';
import type { StepRuntime } from '../../runtime/step-types.ts';
import type { BaseImages } from '../base-images.ts';
import type { StepCache } from '../cache/step-cache.ts';
import type { ContextTrees } from '../contexts/context-trees.ts';
import type { Platform } from '../dockerfile/platform.ts';
import type { BuildFiles } from '../files/build-files.ts';
import type { RemoteFetcher } from '../files/fetch-remote.ts';

/** Layers that nobody removes while a build holds them. */
export interface BuildLayers extends Pick<LayerStore, 'get' | 'make' | 'sync'> {
  hold(): Disposable;
}

export interface BuildEngineDeps {
  steps: StepRuntime;
  layers: BuildLayers;
  /** Asked before a step is carried out on layers. */
  health?: Pick<LayerHealth, 'ensureSound'> | undefined;
  cache: StepCache;
  baseImages: BaseImages;
  files: Pick<BuildFiles, 'transfer' | 'digest' | 'warm'>;
  fetcher: Pick<RemoteFetcher, 'fetch' | 'identify'>;
  contexts: Pick<ContextTrees, 'acquire'>;
  settings: EngineSettings;
  log: { warn(details: object, message: string): void };
}

export interface EngineSettings {
  /** The file system that layers lie on. What builds keep beside them is below `build-mounts` and `build-tmp`. */
  poolRoot: string;
  /** Host id of the image's root, and how many ids follow it. */
  idBase: number;
  idCount: number;
  platform: Platform;
  /** Steps that run at the same time; as many as there are cores without it. */
  stepConcurrency?: number | undefined;
  /** All directories of `--mount=type=cache` together. */
  cacheMountBytes: number;
}
