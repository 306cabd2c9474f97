import { type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { destroy } from './remove.ts';
import { enterStopping, finishStop } from './stop.ts';
import type { SandboxContext, SandboxRow } from './types.ts';

const SYSTEM = { actor: 'system' } as const;
const GRACE_MS = 10_000;
/** Taken in one look; the next look follows at once when there were more. */
const BATCH = 100;
const KEEP_DESTROYED_HOURS = 24;

const stopAt = sql<Date>`last_activity_at + make_interval(mins => auto_stop_interval)`;
const deleteAt = sql<Date>`stopped_at + make_interval(mins => auto_delete_interval)`;

/** Stops sandboxes that nobody used for their minutes, deletes those that were stopped for theirs, and says in how many milliseconds to look again. */
export async function doWhatIsDue(context: SandboxContext): Promise<number | undefined> {
  // All of it is counted by the database's clock.
  await context.clock.settle();
  await context.activity.flush();
  const { runnerId } = context.settings;
  for (const row of await dueToStop(context.db, runnerId).execute()) await stopIdle(context, row);
  for (const row of await dueToDelete(context.db, runnerId)) {
    const reason = `Auto-delete after ${row.auto_delete_interval} minutes`;
    await destroy(context, SYSTEM, row.id, { reason, from: ['stopped'] });
  }
  await forgetDestroyed(context.db);
  return nextDue(context.db, runnerId);
}

/**
 * Their events stay; the rows are for whoever asks what became of a sandbox lately. Those that others were forked from stay as long as these do: a
 * line of ancestors goes over them.
 */
async function forgetDestroyed(db: Kysely<Database>): Promise<void> {
  await db
    .deleteFrom('sandboxes')
    .where('state', '=', 'destroyed')
    .where('state_entered_at', '<', sql<Date>`now() - make_interval(hours => ${KEEP_DESTROYED_HOURS})`)
    .where(sql<boolean>`not exists (select 1 from sandboxes child where child.parent_id = sandboxes.id)`)
    .execute();
}

async function stopIdle(context: SandboxContext, row: Pick<SandboxRow, 'id' | 'auto_stop_interval'>): Promise<void> {
  // Others were stopped since the list was made, and this one may have been used, and that written down, meanwhile.
  const [stillDue] = await dueToStop(context.db, context.settings.runnerId).where('id', '=', row.id).execute();
  if (stillDue === undefined) return;
  if (context.activity.isBusy(row.id)) {
    context.activity.touch(row.id);
    await context.activity.flush();
    return;
  }
  const stopping = await enterStopping(context, SYSTEM, row.id, {
    reason: `Auto-stop after ${row.auto_stop_interval} minutes`,
  });
  if (stopping === undefined) return;
  // In the background: a process that ignores SIGTERM must not keep the others waiting.
  context.background(`auto-stop of sandbox ${row.id}`, finishStop(context, SYSTEM, stopping, { graceMs: GRACE_MS }));
}

const dueToStop = (db: Kysely<Database>, runnerId: string) =>
  db
    .selectFrom('sandboxes')
    .select(['id', 'auto_stop_interval'])
    .where('runner_id', '=', runnerId)
    .where('state', '=', 'started')
    .where('auto_stop_interval', '>', 0)
    .where(stopAt, '<=', sql<Date>`now()`)
    .limit(BATCH);

const dueToDelete = (db: Kysely<Database>, runnerId: string) =>
  db
    .selectFrom('sandboxes')
    .select(['id', 'auto_delete_interval'])
    .where('runner_id', '=', runnerId)
    .where('state', '=', 'stopped')
    .where('auto_delete_interval', '>=', 0)
    .where(deleteAt, '<=', sql<Date>`now()`)
    .limit(BATCH)
    .execute();

async function nextDue(db: Kysely<Database>, runnerId: string): Promise<number | undefined> {
  const { rows } = await sql<{ ms: number | null }>`
    select extract(epoch from least(
      (select min(${stopAt}) from sandboxes where runner_id = ${runnerId} and state = 'started' and auto_stop_interval > 0),
      (select min(${deleteAt}) from sandboxes where runner_id = ${runnerId} and state = 'stopped' and auto_delete_interval >= 0)
    ) - now())::float8 * 1000 as ms`.execute(db);
  return rows[0]?.ms ?? undefined;
}
