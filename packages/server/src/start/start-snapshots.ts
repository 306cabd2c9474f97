import type { Builds } from '../builds/index.ts';
import { startWatch } from '../lifecycle/watch.ts';
import type { Sandboxes } from '../sandboxes/index.ts';
import { snapshotSubject } from '../snapshots/build-subject.ts';
import type { LayerSweeper } from '../snapshots/layer-sweeper.ts';
import { recoverSnapshots, takeUpSnapshot } from '../snapshots/recover.ts';
import { startRetention } from '../snapshots/retention.ts';
import { startSnapshotWorkers } from '../snapshots/workers.ts';
import { credentialsFor } from '../tenancy/registries.ts';
import type { Ground } from './ground.ts';
import type { Machine } from './start-machine.ts';

type SnapshotsGround = Pick<Ground, 'config' | 'log' | 'closers' | 'db' | 'jobs' | 'secrets' | 'instance' | 'clock'>;

/** Workers, builds and watch; what an earlier server left in the middle is taken up again. */
export async function startSnapshots(
  ground: SnapshotsGround,
  { layers, puller }: Pick<Machine, 'layers' | 'puller'>,
  { builds, sandboxes, sweeper }: { builds: Builds; sandboxes: Sandboxes; sweeper: LayerSweeper },
): Promise<void> {
  const { config, log, closers, db, jobs, instance, clock, secrets } = ground;
  await startSnapshotWorkers({
    db,
    jobs,
    builds,
    puller,
    layers,
    sweeper,
    credentialsFor: (organizationId) => credentialsFor({ db, secrets }, organizationId),
    instanceId: instance.id,
    runnerId: instance.runnerId,
    pullConcurrency: config.jobs.pullConcurrency,
    log,
  });
  closers.add('builds', () => builds.close());
  await builds.open([snapshotSubject(db, instance), sandboxes.buildSubject]);
  await recoverSnapshots({ db, jobs });
  // What a server that was killed left in the middle of a pull.
  sweeper.request();
  const watch = startWatch({
    db,
    instance,
    clock,
    log,
    takeUp: (orphan) =>
      orphan.subjectType === 'snapshot' ? takeUpSnapshot({ db, jobs }, orphan) : sandboxes.takeUp(orphan),
  });
  closers.add('watch over deadlines', () => watch.close());
  const retention = startRetention({ db, jobs, log });
  closers.add('retention of snapshots', () => retention.close());
}
