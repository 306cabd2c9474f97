import { type Kysely, sql } from 'kysely';
import type { Database } from './db/schema.ts';

export interface KeepDays {
  eventDays: number;
  auditDays: number;
  webhookDays: number;
}

export interface OldRowSweeper {
  close(): Promise<void>;
}

const PERIOD_MS = 60 * 60_000;
/** Small enough that nobody waits for it. */
const BATCH = 5_000;

const tablesOf = (keep: KeepDays) =>
  [
    ['events', 'at', keep.eventDays],
    ['audit_logs', 'created_at', keep.auditDays],
    ['webhook_deliveries', 'created_at', keep.webhookDays],
  ] as const;

/** How many rows the next sweep takes. */
export async function countOldRows(
  db: Kysely<Database>,
  keep: KeepDays,
): Promise<{ table: string; days: number; count: number }[]> {
  const counts: { table: string; days: number; count: number }[] = [];
  for (const [table, column, days] of tablesOf(keep)) {
    const { rows } = await sql<{ count: number }>`select count(*)::float8 as count from ${sql.table(table)}
      where ${sql.ref(column)} < now() - make_interval(days => ${days})`.execute(db);
    counts.push({ table, days, count: rows[0]?.count ?? 0 });
  }
  return counts;
}

/** Deletes what is only looked back at, when it is old. */
export async function sweepOldRows(db: Kysely<Database>, keep: KeepDays, isClosing = () => false): Promise<number> {
  let total = 0;
  for (const [table, column, days] of tablesOf(keep)) {
    let count: number;
    do {
      const { rows } = await sql`delete from ${sql.table(table)} where ctid = any(array(
          select ctid from ${sql.table(table)} where ${sql.ref(column)} < now() - make_interval(days => ${days}) limit ${BATCH}))
        returning 1`.execute(db);
      count = rows.length;
      total += count;
    } while (count === BATCH && !isClosing());
  }
  return total;
}

export function startOldRowSweeper(options: {
  db: Kysely<Database>;
  keep: KeepDays;
  log: { warn(details: object, message: string): void };
}): OldRowSweeper {
  const { db, keep, log } = options;
  let closing = false;
  let running: Promise<void> = Promise.resolve();
  const sweep = () => {
    running = sweepOldRows(db, keep, () => closing).then(
      () => undefined,
      (error: unknown) => log.warn({ err: error }, 'old rows could not be deleted'),
    );
  };
  const timer = setInterval(sweep, PERIOD_MS).unref();
  return {
    async close() {
      closing = true;
      clearInterval(timer);
      await running;
    },
  };
}
