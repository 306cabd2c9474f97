import { join } from 'node:path';
import type { Builds } from '../builds/index.ts';
import type { Config } from '../platform/config-schema.ts';
import { createSandboxes, type Sandboxes } from '../sandboxes/index.ts';
import type { Ground } from './ground.ts';
import type { Machine } from './start-machine.ts';

export const spoolDirectory = (config: Config) => join(config.stateDir, 'spool');

/** Those of an earlier server are put right before anybody can ask for one. */
export async function startSandboxes(ground: Ground, machine: Machine, builds: Builds): Promise<Sandboxes> {
  const { config, log, closers, instance } = ground;
  const sandboxes = createSandboxes({
    db: ground.db,
    clock: ground.clock,
    jobs: ground.jobs,
    secrets: ground.secrets,
    builds,
    runtime: machine.runtime,
    layers: machine.layers,
    isDamaged: machine.health.isDamaged,
    settings: {
      instanceId: instance.id,
      runnerId: instance.runnerId,
      defaultSnapshot: config.defaultSnapshot,
      pidsLimit: config.runtime.pidsLimit,
      diskLimits: config.runtime.diskLimits,
      bandwidthMbps: config.network.bandwidthMbps,
      spoolDirectory: spoolDirectory(config),
      maxOutputBytes: config.exec.maxOutputBytes,
      graceSeconds: config.gc.graceMinutes * 60,
      deleteStoppedAfterDays: config.gc.deleteStoppedAfterDays,
      maxExecSeconds: config.exec.maxSeconds,
    },
    log,
    onOomKills: (kills) => ground.metrics.addOomKills(kills),
    onStarted: (seconds) => ground.metrics.observeStart({ outcome: 'started', seconds }),
  });
  const recovered = await sandboxes.open();
  closers.add('sandboxes', () => sandboxes.close());
  log.info(recovered, 'sandboxes of an earlier server were looked at');
  return sandboxes;
}
