import { shortLayer } from '../fsck/layer-users.ts';
import type { Depth, Finding, FsckReport } from '../fsck/types.ts';
import type { Config } from '../platform/config-schema.ts';
import { armFailpoints } from '../platform/failpoints.ts';
import { createLog } from '../platform/log.ts';
import { instanceTag } from '../runtime/instance-tag.ts';
import { lookAtContainers } from '../runtime/look-at-containers.ts';
import { createClosers } from './closers.ts';
import { openContextStore } from './start-contexts.ts';
import { startFsck } from './start-fsck.ts';
import { startLayers } from './start-layers.ts';
import { startPlatform } from './start-platform.ts';

export interface OfflineFsck {
  poolRoot: string;
  repair: boolean;
  depth: Depth;
  signal: AbortSignal;
}

/**
 * The same where no server runs, which may not even start: the database, layers and uploads are opened as a server opens them, and closed at the end. The caller
 * has locked the state directory, made the pool ready, and runs as root in a mount namespace of its own. What runs goes on running.
 */
export async function* fsckOffline(
  config: Config,
  { poolRoot, ...request }: OfflineFsck,
): AsyncGenerator<FsckReport, void, undefined> {
  const log = createLog({ log: { ...config.log, level: 'error' } });
  if (config.failpoints !== '') armFailpoints(config.failpoints);
  const closers = createClosers(log);
  try {
    const platform = await startPlatform({ config, log, closers }, poolRoot);
    const ground = { config, log, closers, ...platform };
    const layers = await startLayers(ground, poolRoot);
    const contexts = await openContextStore(config, poolRoot);
    const containers = lookAtContainers(poolRoot, `/run/darkroom-${instanceTag(config.stateDir)}`);
    const openedWith = layers.store.restored.map(restoredRecord);
    const fsck = startFsck(ground, { ...layers, poolRoot, contexts, containers, offline: true, openedWith });
    yield* fsck.run(request);
  } finally {
    await closers.closeAll();
  }
}

function restoredRecord({ diffId, path }: { diffId: string; path: string }): Finding {
  return {
    kind: 'layer-record',
    id: diffId,
    where: path,
    problem: `the record of layer ${shortLayer(diffId)} could not be read; opening the store wrote it again, from its name`,
    repair: { does: 'nothing more', run: async () => 'written again' },
  };
}
