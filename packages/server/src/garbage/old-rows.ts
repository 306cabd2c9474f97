import type { Kysely } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { countOldRows, type KeepDays, sweepOldRows } from '../platform/old-rows.ts';
import type { Collector, GarbageItem } from './collector.ts';

/** Rows that are only looked back at, when they are old. */
export function createOldRows({ db, keep }: { db: Kysely<Database>; keep: KeepDays }): Collector {
  const plan = async () =>
    (await countOldRows(db, keep)).flatMap(({ table, days, count }): GarbageItem[] =>
      count === 0
        ? []
        : [{ kind: 'old-rows', id: table, goes: 'sweep', why: `${count} rows are older than ${days} days` }],
    );
  return {
    plan,
    async collect() {
      const before = await plan();
      await sweepOldRows(db, keep);
      return before;
    },
  };
}
