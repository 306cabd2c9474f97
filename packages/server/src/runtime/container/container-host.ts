import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import type { Cgroups } from '../cgroups.ts';
import type { NetworkPool } from '../network/network-pool.ts';
import type { OpenFilesLimit, SeccompSetting } from './container-config.ts';
import type { SandboxDisks } from './disk/sandbox-disks.ts';
import type { Engines } from './engine.ts';
import type { Layout } from './layout.ts';
import type { MountOverlay } from './overlay.ts';

/** The part of a logger that is used here; pino fits. */
export interface RuntimeLog {
  info(data: object, message: string): void;
  warn(data: object, message: string): void;
  error(data: object, message: string): void;
}

/** What every operation on containers works with, once the runtime is open. */
export interface ContainerHost {
  layout: Layout;
  idBase: number;
  idCount: number;
  engines: Engines;
  watcher: ExitWatcher;
  cgroups: Cgroups;
  network: NetworkPool;
  disks: SandboxDisks;
  mountOverlay: MountOverlay;
  seccomp: SeccompSetting;
  openFiles: OpenFilesLimit;
  /** Where the host has AppArmor. */
  appArmorProfile: string | undefined;
  log: RuntimeLog;
}
