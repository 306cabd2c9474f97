import type { Kysely } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { isUuid } from './bound-logs.ts';
import type { BuildLogs } from './logs/build-log.ts';

const BATCH = 500;

/** Removes builds of sandboxes that are gone, and logs whose builds are. Answers how many logs. */
export async function sweepBuilds(options: {
  db: Kysely<Database>;
  logs: Pick<BuildLogs, 'list' | 'remove'>;
  isRunning(buildId: string): boolean;
}): Promise<number> {
  const { db, logs } = options;
  // What removes a sandbox does that itself, unless it was too late. Snapshots take their builds with them.
  await db
    .deleteFrom('builds')
    .using('sandboxes')
    .whereRef('sandboxes.id', '=', 'builds.sandbox_id')
    .where('sandboxes.state', '=', 'destroyed')
    .execute();
  const stray = await strayLogs(options);
  for (const id of stray) await logs.remove(id);
  return stray.length;
}

/** Logs whose builds are gone. */
export async function strayLogs({
  db,
  logs,
  isRunning,
}: {
  db: Kysely<Database>;
  logs: Pick<BuildLogs, 'list'>;
  isRunning(buildId: string): boolean;
}): Promise<string[]> {
  // Listed first: a log is made after its row.
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
