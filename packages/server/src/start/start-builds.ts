import { join } from 'node:path';
import { type Builds, createBuilds } from '../builds/index.ts';
import { createBuildLogs } from '../builds/logs/build-logs.ts';
import type { Ground } from './ground.ts';
import { measuredEngine } from './measured-engine.ts';
import { type BuildEngineSite, type BuildGround, startBuildEngine } from './start-build-engine.ts';

export type BuildsGround = BuildGround & Pick<Ground, 'events' | 'jobs'> & Partial<Pick<Ground, 'metrics'>>;

/** Builds, to be opened when what they are for is there. Whoever opens them closes them. */
export async function startBuilds(ground: BuildsGround, site: BuildEngineSite): Promise<Builds> {
  const { config, log, closers, db, events, jobs, metrics, secrets, instance } = ground;
  const logs = await createBuildLogs({ directory: join(config.stateDir, 'build-logs'), log });
  closers.add('logs of builds', () => logs.close());
  const { engine, noteEnd, makeRoom, collectors, clearCache } = await startBuildEngine(ground, site);
  return createBuilds({
    db,
    engine: metrics === undefined ? engine : measuredEngine(engine, metrics),
    events,
    jobs,
    logs,
    secrets,
    contexts: site.contexts,
    layers: site.machine.layers,
    makeRoom,
    collectors,
    clearCache,
    runnerId: instance.runnerId,
    graceSeconds: config.gc.graceMinutes * 60,
    onEnded: noteEnd,
    instanceId: instance.id,
    settings: config.builds,
    log,
  });
}
