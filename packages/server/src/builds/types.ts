/**
 * What a build is for the rest of the server: a definition goes in, an image comes out, and an observer is told of everything between.
 */
import type { Collector } from '../garbage/collector.ts';
import type { ImageConfig } from '../images/types.ts';

export interface BuildDefinition {
  id: string;
  organizationId: string;
  dockerfile: string;
  /** Hashes of uploaded contexts, in the order in which they are laid over each other. */
  contexts: readonly string[];
  /** A stage's name or number; the last one without. */
  target: string | undefined;
  buildArgs: ReadonlyMap<string, string>;
  /** Values by id. They reach steps that mount them, and nothing else. */
  secrets: ReadonlyMap<string, string>;
  /** Runs every step, except what an earlier, interrupted run of this same build has finished. */
  noCache: boolean;
  /** Cached steps older than this run again. */
  cacheMaxAgeSeconds: number | undefined;
  limits: BuildLimits;
}

/** Of each step, except `maxBytes`, which all layers of the image have together. */
export interface BuildLimits {
  cpu: number;
  memoryBytes: number;
  pids: number;
  diskBytes: number;
  stepSeconds: number;
  maxBytes: number;
}

export interface BuiltImage {
  /** Ids of layers, base first, all in the layer store and on disk. */
  layers: string[];
  config: ImageConfig;
  sizeBytes: number;
}

export interface StepDescription {
  /** Counted from 1 over the whole build, in the order of the Dockerfile. */
  number: number;
  /** The stage's name, or its number. */
  stage: string;
  line: number;
  /** The instruction as it is written. */
  text: string;
}

/** `none`: an instruction that only changes the configuration. */
export type CacheUse =
  | { kind: 'hit' }
  /** In one phrase for a person: `the files changed`, `noCache was asked for`. */
  | { kind: 'miss'; why: string }
  /** Another build that runs at the same time carries it out. */
  | { kind: 'shared' }
  | { kind: 'none' };

/** Calls come in order for each step; steps of independent stages interleave. None may raise or wait. */
export interface BuildObserver {
  planned(steps: readonly StepDescription[]): void;
  started(step: number): void;
  /** As soon as it is known, before the step's output. */
  cache(step: number, use: CacheUse): void;
  output(step: number, stream: 'stdout' | 'stderr', bytes: Uint8Array): void;
  /** Progress of pulls, warnings: one line for a person. Without a step it is about the build. */
  note(step: number | undefined, text: string): void;
  /** `bytes` of the layer that it made, 0 for none. */
  finished(step: number, result: { bytes: number }): void;
  failed(step: number, exitCode: number | undefined): void;
}

export interface BuildEngine {
  /**
   * Builds the image and resolves when all its layers are on disk. Raises `BuildFailure`, or the signal's reason; then nothing of the
   * build runs any more, and the finished steps are in the cache.
   */
  build(definition: BuildDefinition, observer: BuildObserver, signal: AbortSignal): Promise<BuiltImage>;
  /** Raises `invalid_request` with the line for a text that cannot be built, before anything is looked up. */
  check(definition: Pick<BuildDefinition, 'dockerfile' | 'target' | 'buildArgs'>): void;
  /** The disk is full: some of what is only kept to make builds quicker goes, and no step uses. Answers how much. */
  makeRoom(): Promise<number>;
  /** Directories of cache mounts. */
  readonly cacheMounts: Collector;
  close(): Promise<void>;
}
