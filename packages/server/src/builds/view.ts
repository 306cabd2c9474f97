import type { ReadDeps } from './read-log.ts';
import { type BuildRow, findBuild } from './records.ts';
import { readSteps, type StepRow, settledStep } from './steps.ts';

/** A build with its steps. */
export interface BuildView {
  row: BuildRow;
  /** As far as they are known: the engine tells them when it has read the Dockerfile. */
  steps: StepRow[];
}

/** As it is now; `row` may be older. */
export async function viewBuild({ db, running }: Pick<ReadDeps, 'db' | 'running'>, row: BuildRow): Promise<BuildView> {
  // Before the row: a build that ends in between is in both, and never in none.
  const live = running(row.id)?.steps.map((step) => ({ ...step }));
  const current = (await findBuild(db, row.id)) ?? row;
  // A build that a restart has just given to this process has none until it is planned again.
  const steps = live === undefined || live.length === 0 ? await readSteps(db, row.id) : live;
  return { row: current, steps: steps.map((step) => settledStep(step, current.outcome)) };
}
