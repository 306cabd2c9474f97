import type { Kysely } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { type Columns, SANDBOX, SNAPSHOT, updateStatement } from './statements.ts';

/**
 * Something of a row was put right that is no change of its state: an event says so, with the state before and after. False when the row is gone, or in
 * another state by now.
 */
export async function noteRepair(
  db: Kysely<Database>,
  row: { type: 'snapshot' | 'sandbox'; id: string; state: string },
  note: { actor: string; reason: string; set?: Columns },
): Promise<boolean> {
  const subject = row.type === 'snapshot' ? SNAPSHOT : SANDBOX;
  const columns = { ...note.set, updated_at: new Date() };
  const guard = { id: row.id, from: [row.state] };
  const told = { actor: note.actor, reason: note.reason, durable: true };
  return (await updateStatement(subject, guard, columns, told).execute(db)).rows.length > 0;
}
