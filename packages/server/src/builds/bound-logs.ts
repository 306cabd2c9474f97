import type { Kysely } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import type { BuildLogs } from './logs/build-log.ts';

const BATCH = 500;

interface KnownLog {
  id: string;
  organizationId: string;
  /** Of a build that has ended. */
  finishedAt: Date | null;
  bytes: number;
}

/** Removes the oldest logs of organizations that have more than so much of them; never of a build that runs. Answers how many. */
export async function boundLogs(
  { db, logs }: { db: Kysely<Database>; logs: Pick<BuildLogs, 'sizes' | 'remove'> },
  maxBytes: number,
): Promise<number> {
  const sizes = await logs.sizes();
  // The usual case: all organizations together have less than one may.
  if (sum([...sizes.values()]) <= maxBytes) return 0;
  const known = await knownLogs(db, sizes);
  let removed = 0;
  for (const own of Map.groupBy(known, ({ organizationId }) => organizationId).values()) {
    let total = sum(own.map(({ bytes }) => bytes));
    const ended = own.filter(({ finishedAt }) => finishedAt !== null);
    ended.sort((a, b) => (a.finishedAt?.getTime() ?? 0) - (b.finishedAt?.getTime() ?? 0));
    for (const { id, bytes } of ended) {
      if (total <= maxBytes) break;
      await logs.remove(id);
      total -= bytes;
      removed++;
    }
  }
  return removed;
}

async function knownLogs(db: Kysely<Database>, sizes: ReadonlyMap<string, number>): Promise<KnownLog[]> {
  const ids = [...sizes.keys()].filter(isUuid);
  const known: KnownLog[] = [];
  for (let at = 0; at < ids.length; at += BATCH) {
    const rows = await db
      .selectFrom('builds')
      .select(['id', 'organization_id as organizationId', 'finished_at as finishedAt'])
      .where('id', 'in', ids.slice(at, at + BATCH))
      .execute();
    for (const row of rows) known.push({ ...row, bytes: sizes.get(row.id) ?? 0 });
  }
  return known;
}

export const isUuid = (text: string) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text);

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
