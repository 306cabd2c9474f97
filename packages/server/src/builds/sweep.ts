import type { Kysely } from 'kysely';
import type { Collector, GarbageItem } from '../garbage/collector.ts';
import { atOneMoment, forgetMarks, readMarks, remark } from '../garbage/marks.ts';
import type { Database } from '../platform/db/schema.ts';
import { isUuid } from './bound-logs.ts';
import type { BuildLogs } from './logs/build-log.ts';

const BATCH = 500;
const WHY = 'its build is gone';

export interface LogCollectorDeps {
  db: Kysely<Database>;
  logs: Pick<BuildLogs, 'list' | 'remove' | 'sizes'>;
  isRunning(buildId: string): boolean;
  runnerId: string;
  graceSeconds: number;
}

/** Logs whose builds are gone: what removes a build takes its log along, unless it was killed in between. */
export function createLogCollector(deps: LogCollectorDeps): Collector {
  const { db, logs, runnerId, graceSeconds } = deps;
  const mark = { runnerId, kind: 'build-log' } as const;

  async function items(ids: readonly string[], goes: (id: string) => GarbageItem['goes']): Promise<GarbageItem[]> {
    const sizes = ids.length === 0 ? undefined : await logs.sizes();
    return ids.map((id) => ({ kind: 'build-log', id, sizeBytes: sizes?.get(id), goes: goes(id), why: WHY }));
  }

  return {
    async plan() {
      const [stray, marks] = await atOneMoment(db, async (trx) => [
        await strayLogs({ ...deps, db: trx }),
        await readMarks(trx, mark),
      ]);
      const isDue = (id: string) => (marks.get(id)?.getTime() ?? Date.now()) + graceSeconds * 1000 <= Date.now();
      return items(stray, (id) => (isDue(id) ? 'sweep' : 'grace'));
    },
    async collect({ withoutGrace }) {
      const due = await atOneMoment(db, async (trx) => {
        const stray = (await strayLogs({ ...deps, db: trx })).map((id) => ({ id, why: WHY }));
        const marked = await remark(trx, { ...mark, graceSeconds: withoutGrace ? 0 : graceSeconds }, stray);
        return marked.filter(({ dueInMs }) => dueInMs <= 0).map(({ id }) => id);
      });
      const gone = await items(due, () => 'sweep');
      for (const id of due) await logs.remove(id);
      await forgetMarks(db, mark, due);
      return gone;
    },
  };
}

/** Removes builds of sandboxes that are gone. What removes a sandbox does that itself, unless it was too late; snapshots take theirs with them. */
export async function sweepBuilds(db: Kysely<Database>): Promise<void> {
  await db
    .deleteFrom('builds')
    .using('sandboxes')
    .whereRef('sandboxes.id', '=', 'builds.sandbox_id')
    .where('sandboxes.state', '=', 'destroyed')
    .execute();
}

/** Logs whose builds are gone. */
export async function strayLogs({
  db,
  logs,
  isRunning,
}: Pick<LogCollectorDeps, 'db' | 'isRunning'> & { logs: Pick<BuildLogs, 'list'> }): Promise<string[]> {
  // A build that began after the transaction did is seen running.
  const ids = (await logs.list()).filter(isUuid);
  const stray: string[] = [];
  for (let at = 0; at < ids.length; at += BATCH) {
    const some = ids.slice(at, at + BATCH);
    const rows = await db.selectFrom('builds').select('id').where('id', 'in', some).execute();
    const known = new Set(rows.map(({ id }) => id));
    stray.push(...some.filter((id) => !known.has(id) && !isRunning(id)));
  }
  return stray;
}
