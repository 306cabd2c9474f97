import { join } from 'node:path';
import type { DiskGuard } from '../platform/disk-guard.ts';
import { raiseHostLimits } from '../runtime/host-limits.ts';
import { instanceTag } from '../runtime/instance-tag.ts';
import { leaveMachine } from '../runtime/leave-machine.ts';
import { createNetworkPool } from '../runtime/network/network-pool.ts';
import { prepareCgroups } from '../runtime/prepare-cgroups.ts';
import { createRuntime } from '../runtime/runtime.ts';
import type { SandboxRuntime } from '../runtime/types.ts';
import type { Ground } from './ground.ts';
import { type Layers, startLayers } from './start-layers.ts';

export interface Machine extends Layers {
  runtime: SandboxRuntime;
}

export interface MachineOptions {
  poolRoot: string;
  disk: Pick<DiskGuard, 'assertRoom' | 'within'>;
  /** Names the mount namespace that this process came from. */
  hostMountNamespace?: string | undefined;
}

/** The floor of images and containers. What runs already is adopted. */
export async function startMachine(ground: Ground, options: MachineOptions): Promise<Machine> {
  const { config, log, closers } = ground;
  const { idBase, idCount } = config.runtime;
  const tag = instanceTag(config.stateDir);
  // On a tmpfs: it describes what runs, and a reboot ends both.
  const runDir = `/run/darkroom-${tag}`;

  const floor = await startLayers(ground, options.poolRoot, options.disk);

  await raiseHostLimits(log);
  const cgroups = await prepareCgroups({ tag, hostMountNamespace: options.hostMountNamespace });
  const network = createNetworkPool({
    tag,
    runDir: join(runDir, 'network'),
    cidr: config.network.cidr,
    idBase,
    idCount,
    ready: config.runtime.readyNamespaces,
    allowPrivate: config.network.allowPrivate,
    dns: config.network.dns,
    log,
  });
  const runtime = createRuntime({
    poolRoot: options.poolRoot,
    runDir,
    cacheDir: join(config.stateDir, 'cache'),
    settings: {
      ...config.runtime,
      stepEnvironment: config.builds.stepEnvironment,
      caFiles: config.builds.caFiles,
    },
    cgroups,
    network,
    log,
  });
  await runtime.open();
  closers.add('runtime', async () => {
    const isUsed = (await runtime.list()).some((container) => container.running);
    await runtime.close();
    if (!isUsed) await leaveMachine(runDir, cgroups);
  });
  return { ...floor, runtime };
}
