import type { Kysely } from 'kysely';
import type { Database } from './db/schema.ts';

/** How many snapshots and sandboxes are in each state, from the counters that the database keeps: no scan. */
export function readStateCounts(
  db: Kysely<Database>,
): Promise<{ subjectType: 'snapshot' | 'sandbox'; state: string; count: number }[]> {
  return db
    .selectFrom('state_counts')
    .select(['subject_type as subjectType', 'state'])
    .select((query) => query.fn.sum<number>('count').as('count'))
    .groupBy(['subject_type', 'state'])
    .execute();
}
