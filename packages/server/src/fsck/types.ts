import type { Kysely } from 'kysely';
import type { ContextStore } from '../builds/contexts/context-store.ts';
import type { BuildLogs } from '../builds/logs/build-log.ts';
import type { LayerHealth } from '../images/health/layer-health.ts';
import type { OpenLayerStore } from '../images/layer-store.ts';
import type { Database } from '../platform/db/schema.ts';
import type { JobQueue } from '../platform/jobs.ts';
import type { SecretBox } from '../platform/secrets.ts';
import type { ContainerStatus } from '../runtime/types.ts';
import type { LayerKeeper } from '../snapshots/layer-keeper.ts';

/**
 * How closely layers are looked at. `quick`: what rows, records and directories say of each other. `files`: also each file's type, mode, owner,
 * size, times and attributes, some ten microseconds a file. `bytes`: also what is in them.
 */
export type Depth = 'quick' | 'files' | 'bytes';

/** Something of the database and something of the disk that disagree. */
export interface Finding {
  /** What is wrong, as a word for programs: `layer-missing`. */
  kind: string;
  /** Of what: an id, a name or a path. */
  id: string;
  /** A table or a path. */
  where: string;
  /** For a person. */
  problem: string;
  /** Undefined where nothing but a person can help; `problem` says how then. */
  repair?: Repair | undefined;
}

export interface Repair {
  /** What it would do, for a person: `fetch it again from registry.test/app:1`. */
  does: string;
  /**
   * Looks again whether it is still so, does it, and may be killed at any point: the next run finds what is left. Resolves to what was done; undefined when
   * there was nothing to do any more. Raises when it could not be done.
   */
  run(signal: AbortSignal): Promise<string | undefined>;
}

/** Where a check is that takes long. */
export interface Progress {
  done: number;
  total: number;
}

/** One way in which the two can disagree. A new one is a file in `checks/` and a line in its `index.ts`. */
export interface Check {
  name: string;
  /** For a person, while it runs: `layers that rows name`. */
  title: string;
  /** Nothing is changed by looking. What is under way, or was a moment ago, is nobody's fault. */
  find(scene: Scene): AsyncIterable<Finding | Progress>;
}

/** What can be looked at, and repaired with. */
export interface Scene {
  db: Kysely<Database>;
  runnerId: string;
  stateDir: string;
  poolRoot: string;
  depth: Depth;
  signal: AbortSignal;
  /** No server works on the state directory: nothing is under way, and what has no owner now never will. */
  offline: boolean;
  /** What is older than this was there before the process began. */
  startedAt: Date;
  /** How long what no row names may still get one. */
  graceMs: number;
  /** What was put right when the store was opened, for a run that opened it. */
  openedWith: readonly Finding[];
  store: OpenLayerStore;
  layers: LayerKeeper;
  health: Pick<LayerHealth, 'verifyLayer' | 'isDamaged' | 'noteDamaged' | 'noteSound' | 'refetch'>;
  /** As of `LayerHealthDeps`: whether it was fetched. */
  fetchAgain(diffId: string, signal: AbortSignal): Promise<boolean>;
  contexts: ContextStore;
  logs: Pick<BuildLogs, 'list' | 'remove'>;
  containers: {
    list(): Promise<ContainerStatus[]>;
    /** Ends what runs of it and takes its files away. */
    remove(id: string): Promise<void>;
  };
  jobs: Pick<JobQueue, 'enqueue' | 'cancel'>;
  secrets: Pick<SecretBox, 'seal'>;
  log: {
    info(details: object, message: string): void;
    warn(details: object, message: string): void;
  };
}

export type Outcome = 'found' | 'repaired' | 'failed';

/** What a run tells, in this order: any number of the first two, then the last. */
export type FsckReport =
  | { type: 'progress'; check: string; title: string; done: number; total: number }
  | {
      type: 'finding';
      kind: string;
      id: string;
      where: string;
      problem: string;
      /** What a repair does; null where only a person can help. */
      repair: string | null;
      outcome: Outcome;
      /** What was done, or why it could not be. */
      note: string | null;
    }
  | { type: 'end'; findings: number; repaired: number; left: number; seconds: number };
