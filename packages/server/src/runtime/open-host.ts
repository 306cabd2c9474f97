import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createExitWatcher } from '../platform/exit-watcher.ts';
import { MS_BIND, mount } from '../platform/libc.ts';
import { appArmorProfile } from './app-armor.ts';
import type { Cgroups } from './cgroups.ts';
import type { OpenFilesLimit } from './container/container-config.ts';
import type { ContainerHost, RuntimeLog } from './container/container-host.ts';
import { createCrun } from './container/crun.ts';
import { crunEngine } from './container/crun-engine.ts';
import { openSandboxDisks } from './container/disk/sandbox-disks.ts';
import { makeFurnishings } from './container/furnishings.ts';
import { gvisorEngine } from './container/gvisor/gvisor-engine.ts';
import { type Layout, seenByCrun } from './container/layout.ts';
import { createOverlayMounter, unmountQuietly } from './container/overlay.ts';
import { sweepSandboxLitter } from './container/sandbox-dir.ts';
import { loadSeccompFilter } from './container/seccomp-filter.ts';
import type { NetworkPool } from './network/network-pool.ts';

export interface RuntimeOptions {
  /** Has `layers/`, `sandboxes/` and `tmp/` on one file system. */
  poolRoot: string;
  /** Describes what runs; best on a tmpfs. Must outlive the server, and not the machine. */
  runDir: string;
  /** Keeps what is costly to make again. */
  cacheDir: string;
  settings: {
    crun: string;
    gvisor?: string;
    idBase: number;
    idCount: number;
    startConcurrency: number;
    readyDisks: number;
    /** What steps of builds find in their environment when they do not say it themselves, proxies for example. */
    stepEnvironment?: Readonly<Record<string, string>>;
    /** PEM files of certificates that steps trust beside those of the host. */
    caFiles?: readonly string[];
  };
  cgroups: Cgroups;
  /** Opened and closed by the runtime, which knows what is in use. */
  network: NetworkPool;
  log: RuntimeLog;
}

/** All that starting and watching containers needs. What a failed one mounted goes with the server, which cannot go on without it. */
export async function openHost(options: RuntimeOptions, layout: Layout): Promise<ContainerHost> {
  const { idBase, idCount } = options.settings;
  // The sandbox's root looks for its mount sources through these, and may see no more of them than their names.
  for (const dir of [layout.runDir, join(layout.runDir, 'containers'), layout.poolView, layout.sandboxesDir]) {
    await mkdir(dir, { recursive: true, mode: 0o711 });
  }
  await mkdir(layout.trashDir, { recursive: true, mode: 0o700 });
  await sweepSandboxLitter(layout, options.log);
  await makeFurnishings(layout, idBase);
  unmountQuietly(layout.poolView);
  mount(layout.poolRoot, layout.poolView, null, MS_BIND, null);
  const watcher = createExitWatcher();
  try {
    const crun = await createCrun({
      command: options.settings.crun,
      root: layout.crunRoot,
      mountPoint: join(layout.runDir, 'crun-binary'),
      watcher,
    });
    return {
      layout,
      idBase,
      idCount,
      engines: { container: crunEngine(crun), gvisor: gvisorEngine(layout, options.settings, watcher, options.log) },
      watcher,
      cgroups: options.cgroups,
      network: options.network,
      disks: await openSandboxDisks({ layout, idBase, ready: options.settings.readyDisks, log: options.log }),
      mountOverlay: createOverlayMounter(),
      seccomp: await loadSeccompFilter({
        crun,
        cacheDir: options.cacheDir,
        scratchDir: join(layout.runDir, 'seccomp'),
        skeletonDir: seenByCrun(layout, layout.skeletonDir),
        toolsDir: seenByCrun(layout, layout.toolsDir),
        idBase,
        cgroupPath: options.cgroups.pathFor('seccomp'),
      }),
      openFiles: await openFilesLimit(),
      appArmorProfile: await appArmorProfile(options.log),
      log: options.log,
    };
  } catch (error) {
    await watcher.close();
    unmountQuietly(layout.poolView);
    throw error;
  }
}

/** What programs find comfortable, within what this server may give: nobody can be given more than their giver has. */
async function openFilesLimit(): Promise<OpenFilesLimit> {
  const limits = await readFile('/proc/self/limits', 'utf8');
  const hard = Number(/^Max open files\s+\S+\s+(\d+)/m.exec(limits)?.[1] ?? 1024);
  return { soft: Math.min(hard, 65_536), hard: Math.min(hard, 1_048_576) };
}
