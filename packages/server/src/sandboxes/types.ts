import type { Kysely } from 'kysely';
import type { Builds } from '../builds/index.ts';
import type { ClockWatch } from '../platform/clock-watch.ts';
import type { Database } from '../platform/db/schema.ts';
import type { JobQueue } from '../platform/jobs.ts';
import type { SecretBox } from '../platform/secrets.ts';
import type { SandboxRuntime } from '../runtime/types.ts';
import type { LayerKeeper } from '../snapshots/layer-keeper.ts';
import type { SandboxActivity } from './activity.ts';
import type { Entrypoints } from './entrypoint.ts';
import type { BandwidthDefaults } from './network-policy.ts';
import type { Profiles } from './profiles.ts';
import type { Schedule } from './schedule.ts';
import type { Interpreters } from './toolbox/interpreter/index.ts';
import type { Sessions } from './toolbox/sessions/index.ts';
import type { Terminals } from './toolbox/terminals/index.ts';

export type { SandboxRow } from '../lifecycle/move.ts';

/** Who asks: the organization that everything is confined to, and the name that events carry. */
export interface Caller {
  organizationId: string;
  actor: string;
}

export interface SandboxLog {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

export interface SandboxSettings {
  /** This server process and the machine it works on. */
  instanceId: string;
  runnerId: string;
  defaultSnapshot: string;
  pidsLimit: number;
  /** Of sandboxes that say nothing of it. */
  bandwidthMbps?: BandwidthDefaults | undefined;
  /** Whether sandboxes have disks of their own, which bound what they write. */
  diskLimits: boolean;
  /** A directory of this server's own, on disk: what does not fit into memory is put there. */
  spoolDirectory: string;
  /** How long what nothing needs any more stays. */
  graceSeconds: number;
  /** Sandboxes that are stopped for so long are deleted; without it none. */
  deleteStoppedAfterDays?: number | undefined;
  maxOutputBytes: number;
  maxExecSeconds: number;
}

/** What the floors below and beside give. */
export interface SandboxDeps {
  db: Kysely<Database>;
  clock: ClockWatch;
  runtime: SandboxRuntime;
  layers: Pick<LayerKeeper, 'get' | 'make' | 'makeFromDisk' | 'sync' | 'hold' | 'hasAll'>;
  jobs: JobQueue;
  secrets: Pick<SecretBox, 'derive' | 'seal'>;
  builds: Pick<Builds, 'check' | 'checkContexts' | 'begin' | 'discard'>;
  settings: SandboxSettings;
  log: SandboxLog;
  /** Layers whose files are known not to be what they were. */
  isDamaged?: (diffId: string) => boolean;
  /** Called with the seconds that a start took, for the histogram. */
  onStarted?: (seconds: number) => void;
  /** Called with the number of processes that were killed at a sandbox's memory limit, for the counter. */
  onOomKills?: (kills: number) => void;
}

/** The parts with a lifetime that the functions of this folder share. */
export interface SandboxContext extends SandboxDeps {
  activity: SandboxActivity;
  schedule: Schedule;
  entrypoints: Entrypoints;
  profiles: Profiles;
  terminals: Pick<Terminals, 'sandboxEnded'>;
  interpreters: Pick<Interpreters, 'sandboxEnded'>;
  sessions: Pick<Sessions, 'sandboxEnded'>;
  /** Work that outlives its request: named, logged when it fails, waited for at close. */
  background(what: string, work: Promise<unknown>): void;
}
