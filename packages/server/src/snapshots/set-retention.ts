import type { Kysely, Transaction } from 'kysely';
import type { SnapshotRow } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { conflict, invalidRequest } from '../platform/errors.ts';
import { getOwnSnapshot, snapshotNotFound } from './find.ts';

export interface RetentionChange {
  /** A lock: neither a delete nor time takes it. */
  retain?: boolean | undefined;
  retainReason?: string | null | undefined;
  /** It is deleted then; null for never. */
  expiresAt?: Date | null | undefined;
}

/** How long a snapshot stays. */
export async function setRetention(
  db: Kysely<Database>,
  organizationId: string,
  idOrName: string,
  { retain, retainReason, expiresAt }: RetentionChange,
): Promise<SnapshotRow> {
  if (expiresAt != null && expiresAt.getTime() <= Date.now()) throw invalidRequest('expiresAt must be in the future');
  const { id, general } = await getOwnSnapshot(db, organizationId, idOrName);
  if (general && expiresAt != null) throw invalidRequest('A general snapshot cannot expire');
  const reason = retain === false ? null : retainReason;
  const row = await db
    .updateTable('snapshots')
    .set({
      updated_at: new Date(),
      ...(retain === undefined ? {} : { retain }),
      ...(reason === undefined ? {} : { retain_reason: reason }),
      ...(expiresAt === undefined ? {} : { expires_at: expiresAt }),
    })
    .where('id', '=', id)
    .where('state', '<>', 'removing')
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) throw snapshotNotFound(idOrName);
  return row;
}

/** Holds the row until the transaction ends, so that a lock that comes now comes after what is done. */
export async function assertNotRetained(trx: Transaction<Database>, id: string): Promise<void> {
  const row = await trx
    .selectFrom('snapshots')
    .select(['name', 'retain', 'retain_reason'])
    .where('id', '=', id)
    .forNoKeyUpdate()
    .executeTakeFirst();
  if (row?.retain !== true) return;
  const why = row.retain_reason === null ? '' : `: ${row.retain_reason}`;
  throw conflict(`Snapshot ${row.name} is retained${why}`, {
    hint: 'Take the lock away first: PATCH /api/snapshots/{id} with {"retain": false}.',
  });
}
