import type { Kysely } from 'kysely';
import type { Database } from '../platform/db/schema.ts';

const INTERVAL_MS = 60_000;

/** `last_used_at` orders lists and tells what may be deactivated: once a minute is exact enough, and keeps a hot row cool. */
export async function noteSnapshotUse(
  db: Kysely<Database>,
  snapshot: { id: string; last_used_at: Date | null },
): Promise<void> {
  const before = new Date(Date.now() - INTERVAL_MS);
  if (snapshot.last_used_at !== null && snapshot.last_used_at > before) return;
  await db
    .updateTable('snapshots')
    .set({ last_used_at: new Date() })
    .where('id', '=', snapshot.id)
    .where((where) => where.or([where('last_used_at', 'is', null), where('last_used_at', '<', before)]))
    .execute();
}
