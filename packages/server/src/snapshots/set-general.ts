import type { Kysely } from 'kysely';
import type { SnapshotRow } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { notFound } from '../platform/errors.ts';
import { isUuid } from './find.ts';

/** Makes a snapshot of any organization one that all can start sandboxes from, or takes that back. For operators. */
export async function setGeneral(db: Kysely<Database>, id: string, general: boolean): Promise<SnapshotRow> {
  const row = isUuid(id)
    ? await db
        .updateTable('snapshots')
        .set({ general, updated_at: new Date() })
        .where('id', '=', id)
        .where('state', '<>', 'removing')
        .returningAll()
        .executeTakeFirst()
    : undefined;
  if (row === undefined) throw notFound(`Snapshot with ID ${id} not found`);
  return row;
}
