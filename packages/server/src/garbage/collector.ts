/** Whatever may be taken away, as people are told of it. */
export interface GarbageItem {
  kind: GarbageKind;
  id: string;
  organizationId?: string | undefined;
  sizeBytes?: number | undefined;
  goes: GoesWhen;
  why: string;
}

export type GarbageKind =
  | 'layer'
  | 'damaged-layer'
  | 'staging'
  | 'build-cache'
  | 'base-image'
  | 'cache-mount'
  | 'context'
  | 'context-tree'
  | 'upload'
  | 'build-log'
  | 'entrypoint-log'
  | 'spool-file'
  | 'sandbox'
  | 'old-rows';

/**
 * `sweep`: the next sweep takes it. `grace`: nothing needs it, and a sweep takes it when that has been so for long enough. `pressure`: it saves work,
 * and goes when the disk or its own limit is full. `held`: nothing needs it, but something under way may.
 */
export type GoesWhen = 'sweep' | 'grace' | 'pressure' | 'held';

export interface CollectOptions {
  /** What nothing needs goes without waiting for its grace. Not what is held. */
  withoutGrace: boolean;
}

/** One kind of what Darkroom keeps. */
export interface Collector {
  /** What may go, and why. Takes nothing. */
  plan(): Promise<GarbageItem[]>;
  /** Takes what may go now, and answers what went. */
  collect(options: CollectOptions): Promise<GarbageItem[]>;
}
