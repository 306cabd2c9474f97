import type { Transaction } from 'kysely';
import { sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { DarkroomError } from '../platform/errors.ts';

/** States that count: what holds or will hold layers. */
const COUNTED = ['building', 'pending', 'pulling', 'snapshotting', 'active'] as const;

/**
 * Raises `quota_exceeded` when the organization has no room for one more snapshot. Holds the organization's row until
 * the transaction ends, so that two creations at once cannot both take the last place.
 */
export async function claimQuota(trx: Transaction<Database>, organizationId: string): Promise<void> {
  const { snapshot_quota: quota } = await trx
    .selectFrom('organizations')
    .select('snapshot_quota')
    .where('id', '=', organizationId)
    .forNoKeyUpdate()
    .executeTakeFirstOrThrow();
  // A second statement: it must see what was committed while the first waited for the row.
  if ((await countSnapshots(trx, organizationId)) >= quota) {
    throw new DarkroomError('quota_exceeded', `Snapshot quota exceeded. Maximum allowed: ${quota}`);
  }
}

/** Snapshots that count against the quota, from the counters. */
export async function countSnapshots(db: Pick<Transaction<Database>, 'selectFrom'>, organizationId: string) {
  const { count } = await db
    .selectFrom('state_counts')
    .select(sql<number>`coalesce(sum(count), 0)::float8`.as('count'))
    .where('organization_id', '=', organizationId)
    .where('subject_type', '=', 'snapshot')
    .where('state', 'in', [...COUNTED])
    .executeTakeFirstOrThrow();
  return count;
}
