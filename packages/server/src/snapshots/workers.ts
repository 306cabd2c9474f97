import type { JobQueue } from '../platform/jobs.ts';
import { type FlattenJobDeps, flattenSnapshot } from './flatten-job.ts';
import { type PullJobDeps, pullSnapshot } from './pull-job.ts';
import { type RemoveJobDeps, removeSnapshot } from './remove-job.ts';

export type SnapshotWorkerDeps = PullJobDeps &
  RemoveJobDeps &
  FlattenJobDeps & { jobs: JobQueue; pullConcurrency: number };

const REMOVE_CONCURRENCY = 4;

/** Registers what works on snapshots in the background. */
export async function startSnapshotWorkers(deps: SnapshotWorkerDeps): Promise<void> {
  await deps.jobs.work('snapshot.pull', { concurrency: deps.pullConcurrency }, (data, context) =>
    pullSnapshot(deps, data, context),
  );
  await deps.jobs.work('snapshot.flatten', { concurrency: 1 }, (data, context) => flattenSnapshot(deps, data, context));
  await deps.jobs.work('snapshot.remove', { concurrency: REMOVE_CONCURRENCY }, (data) => removeSnapshot(deps, data));
}
