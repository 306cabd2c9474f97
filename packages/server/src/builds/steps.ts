import type { Kysely, Selectable } from 'kysely';
import type { BuildStepTable, Database } from '../platform/db/schema.ts';
import type { BuildRow } from './records.ts';

export type StepRow = Omit<Selectable<BuildStepTable>, 'build_id'>;

/** The steps as they were last written, by number. */
export async function readSteps(db: Kysely<Database>, buildId: string): Promise<StepRow[]> {
  const rows = await db
    .selectFrom('build_steps')
    .selectAll()
    .where('build_id', '=', buildId)
    .orderBy('number')
    .execute();
  return rows.map(({ build_id: _, ...step }) => step);
}

/** After the end of a build nothing runs any more, whatever was last written of it (the server may have been killed). */
export function settledStep(step: StepRow, outcome: BuildRow['outcome']): StepRow {
  if (outcome === null) return step;
  if (step.state === 'running') return { ...step, state: outcome === 'succeeded' ? 'done' : 'failed' };
  if (step.state === 'waiting') return { ...step, state: 'skipped' };
  return step;
}
