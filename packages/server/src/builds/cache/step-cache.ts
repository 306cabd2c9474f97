import type { Layer } from '../../images/types.ts';
import type { CacheUse } from '../types.ts';

export interface StepResult {
  /** Undefined for a step that changes no file. */
  layer: Layer | undefined;
}

/** What a step's result depends on, by names that say to a person what changed: `the base image`, `the files`, `the environment`. Values are digests or short texts, never secrets. */
export type KeyParts = Readonly<Record<string, string>>;

/** What a running step tells, in order; whoever joins it later is told from the beginning. */
export type StepEvent =
  | { kind: 'output'; stream: 'stdout' | 'stderr'; bytes: Uint8Array }
  | { kind: 'note'; text: string };

export interface StepRequest {
  organizationId: string;
  buildId: string;
  parts: KeyParts;
  /** The instruction as it is written: a miss is compared with the most similar of the last steps with the same one. */
  text: string;
  /** Only what this same build recorded is a hit. */
  noCache: boolean;
  maxAgeSeconds: number | undefined;
  /** The step is given secrets, which are not among the parts: a failure of another build's run may be that of its secrets. */
  hasSecrets?: boolean;
}

export interface StepListener {
  /** Once, before all events. */
  onUse(use: CacheUse): void;
  onEvent(event: StepEvent): void;
}

/** The results of steps by what they depend on, for each organization. */
export interface StepCache {
  /**
   * From the cache; or from a run for another build that asks for the same at this time; or by `execute`, whose result is recorded.
   * A shared run ends early only when no build waits for it any more; when it fails because of the build that began it (its limits, its
   * cancel) another build begins its own; what its command exited with is the failure of all, with the step of the build that began it,
   * unless the step is given secrets.
   * So `execute` may go on after its build has ended, and holds what it reads by itself. The caller holds the layer keeper. A layer that
   * the store no longer has, or that was not on disk when the machine went down, is a miss. Raises what `execute` raises, or the signal's reason.
   */
  obtain(
    request: StepRequest,
    execute: (signal: AbortSignal, report: (event: StepEvent) => void) => Promise<StepResult>,
    listener: StepListener,
    signal: AbortSignal,
  ): Promise<StepResult>;
  /** Those of them that were built and are not known to be on disk: without any, a build needs no `LayerStore.sync`. */
  unsynced(layerIds: readonly string[]): string[];
  /** The layers are on disk now, and may be believed after a power cut. Call after `LayerStore.sync`. */
  markDurable(layerIds: readonly string[]): Promise<void>;
}
