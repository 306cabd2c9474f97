import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { Database } from '../../platform/db/schema.ts';
import type { EventCursor } from './cursor.ts';

/** Who changed what, when and why. */
export interface LifecycleEvent {
  cursor: EventCursor;
  at: Date;
  organizationId: string;
  subjectType: 'snapshot' | 'sandbox';
  subjectId: string;
  /** Null of events from before names were kept. */
  subjectName: string | null;
  from: string | null;
  to: string;
  actor: string;
  reason: string | null;
}

interface EventRow {
  id: number;
  txid: number;
  organization_id: string;
  subject_type: 'snapshot' | 'sandbox';
  subject_id: string;
  subject_name: string | null;
  from_state: string | null;
  to_state: string;
  actor: string;
  reason: string | null;
  at: Date;
}

export interface EventsRead {
  events: LifecycleEvent[];
  /** Something is committed that may not be told yet: an older transaction is still open, and its events come before. */
  isHeldBack: boolean;
}

const columns = sql`id, txid, organization_id, subject_type, subject_id, subject_name, from_state, to_state, actor, reason, at`;

/** Transactions from here on may still be open. */
export const OPEN_FROM: RawBuilder<number> = sql`pg_snapshot_xmin(pg_current_snapshot())::text::int8`;

/** Events of an organization behind a place, oldest first, without ever passing over one that is seen only later. */
export async function readEvents(
  db: Kysely<Database>,
  organizationId: string,
  after: EventCursor,
  limit: number,
): Promise<EventsRead> {
  const { rows } = await sql<EventRow & { settled: boolean }>`
    select ${columns}, txid < ${OPEN_FROM} as settled from events
    where organization_id = ${organizationId} and (txid, id) > (${after.txid}, ${after.id})
    order by txid, id limit ${limit}`.execute(db);
  const settled = rows.filter((row) => row.settled);
  return { events: settled.map(eventOf), isHeldBack: settled.length < rows.length };
}

/** All that happened to one snapshot or sandbox, also when it is gone, oldest first. Its changes follow each other, so ids are in order. */
export async function readHistory(
  db: Kysely<Database>,
  subject: { organizationId: string; type: 'snapshot' | 'sandbox'; id: string },
  after: EventCursor,
  limit: number,
): Promise<LifecycleEvent[]> {
  const { rows } = await sql<EventRow>`
    select ${columns} from events
    where subject_id = ${subject.id} and id > ${after.id}
      and organization_id = ${subject.organizationId} and subject_type = ${subject.type}
    order by id limit ${limit}`.execute(db);
  return rows.map(eventOf);
}

/** Behind everything that has been seen. */
export async function latestCursor(db: Kysely<Database>): Promise<EventCursor> {
  const { rows } = await sql<{ txid: number }>`select ${OPEN_FROM} as txid`.execute(db);
  return { txid: rows[0]?.txid ?? 0, id: 0 };
}

function eventOf(row: EventRow): LifecycleEvent {
  return {
    cursor: { txid: row.txid, id: row.id },
    at: row.at,
    organizationId: row.organization_id,
    subjectType: row.subject_type,
    subjectId: row.subject_id,
    subjectName: row.subject_name,
    from: row.from_state,
    to: row.to_state,
    actor: row.actor,
    reason: row.reason,
  };
}
