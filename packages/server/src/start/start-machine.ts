import { join } from 'node:path';
import { createLayerHealth, type LayerHealth } from '../images/health/layer-health.ts';
import { soundPuller } from '../images/health/sound-puller.ts';
import { createLayerStore } from '../images/layer-store.ts';
import { createImagePuller } from '../images/pull.ts';
import type { ImagePuller } from '../images/types.ts';
import { createUnpacker } from '../images/unpack/unpacker.ts';
import { raiseHostLimits } from '../runtime/host-limits.ts';
import { instanceTag } from '../runtime/instance-tag.ts';
import { leaveMachine } from '../runtime/leave-machine.ts';
import { createNetworkPool } from '../runtime/network/network-pool.ts';
import { prepareCgroups } from '../runtime/prepare-cgroups.ts';
import { createRuntime } from '../runtime/runtime.ts';
import type { SandboxRuntime } from '../runtime/types.ts';
import { createLayerKeeper, type LayerKeeper } from '../snapshots/layer-keeper.ts';
import { createRefetch } from './fetch-layer-again.ts';
import type { Ground } from './ground.ts';
import { measuredLayers, measuredPuller } from './measured-puller.ts';

export interface Machine {
  runtime: SandboxRuntime;
  layers: LayerKeeper;
  health: LayerHealth;
  puller: ImagePuller;
}

export interface MachineOptions {
  poolRoot: string;
  /** Names the mount namespace that this process came from. */
  hostMountNamespace?: string | undefined;
}

/** The floor of images and containers. What runs already is adopted. */
export async function startMachine(ground: Ground, options: MachineOptions): Promise<Machine> {
  const { config, log, closers, metrics } = ground;
  const { idBase, idCount } = config.runtime;
  const tag = instanceTag(config.stateDir);
  // On a tmpfs: it describes what runs, and a reboot ends both.
  const runDir = `/run/darkroom-${tag}`;

  const unpacker = createUnpacker({ idBase, idCount });
  closers.add('unpacker', () => unpacker.close());
  // The keeper has a grace of its own, and knows who holds what.
  const store = await createLayerStore(join(options.poolRoot, 'layers'), { graceMs: 0 });
  closers.add('layers', () => store.close());
  const refetch = createRefetch(ground, () => puller);
  const health = await createLayerHealth({ store, log, ...refetch });
  closers.add('health of layers', () => health.close());
  const layers = createLayerKeeper(measuredLayers(health.watch(store), metrics));
  const puller = createImagePuller({ layers, unpacker, registries: config.registries, log });
  closers.add('puller', () => puller.close());

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
  return { runtime, layers, health, puller: soundPuller(measuredPuller(puller, metrics), health) };
}
