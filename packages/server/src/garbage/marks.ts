import { type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';

/** What garbage is told apart by; ids of one kind are those of one machine. */
export type MarkedKind = 'layer' | 'damaged-layer' | 'build-log' | 'entrypoint-log';

export interface Unneeded {
  id: string;
  why: string;
}

export interface Marked extends Unneeded {
  since: Date;
  /** Milliseconds until its grace is over; 0 or less when it is. */
  dueInMs: number;
}

export interface MarkOptions {
  runnerId: string;
  kind: MarkedKind;
  graceSeconds: number;
}

/**
 * The first phase of taking something away: writes down that nothing needs it and since when, and forgets that of all others of its kind,
 * which are needed again or gone. The second phase is a later call, in a transaction of its own that has looked anew: of what it answers, that may go
 * whose grace is over. What was marked before keeps its time, also over restarts; one from the future, before the clock was put right, begins now.
 */
export async function remark(
  trx: Kysely<Database>,
  { runnerId, kind, graceSeconds }: MarkOptions,
  unneeded: readonly Unneeded[],
): Promise<Marked[]> {
  const ids = unneeded.map(({ id }) => id);
  await sql`delete from garbage_marks where runner_id = ${runnerId} and kind = ${kind}
    and id <> all(${ids}::text[])`.execute(trx);
  const { rows } = await sql<{ id: string; why: string; since: Date; dueInMs: number }>`
    insert into garbage_marks (runner_id, kind, id, reason)
    select ${runnerId}, ${kind}, id, why from unnest(${ids}::text[], ${unneeded.map(({ why }) => why)}::text[]) as given (id, why)
    on conflict (runner_id, kind, id) do update
      set marked_at = least(garbage_marks.marked_at, now()), reason = excluded.reason
    returning id, reason as why, marked_at as since,
      extract(epoch from marked_at - now() + make_interval(secs => ${graceSeconds}))::float8 * 1000 as "dueInMs"`.execute(
    trx,
  );
  return rows;
}

/** Those are gone. */
export async function forgetMarks(
  db: Kysely<Database>,
  { runnerId, kind }: Pick<MarkOptions, 'runnerId' | 'kind'>,
  ids: readonly string[],
): Promise<void> {
  if (ids.length === 0) return;
  await db
    .deleteFrom('garbage_marks')
    .where('runner_id', '=', runnerId)
    .where('kind', '=', kind)
    // One parameter, however many they are.
    .where(sql<boolean>`id = any(${[...ids]}::text[])`)
    .execute();
}

/** As they are written down, by id; for looking at. */
export async function readMarks(
  db: Kysely<Database>,
  { runnerId, kind }: Pick<MarkOptions, 'runnerId' | 'kind'>,
): Promise<ReadonlyMap<string, Date>> {
  const rows = await db
    .selectFrom('garbage_marks')
    .select(['id', 'marked_at'])
    .where('runner_id', '=', runnerId)
    .where('kind', '=', kind)
    .execute();
  return new Map(rows.map((row) => [row.id, row.marked_at]));
}

/** Everything in it sees the database as it was at one moment. */
export function atOneMoment<T>(db: Kysely<Database>, work: (trx: Kysely<Database>) => Promise<T>): Promise<T> {
  return db.transaction().setIsolationLevel('repeatable read').execute(work);
}
