import type { Updateable } from 'kysely';
import type { SandboxTable } from '../platform/db/schema.ts';
import { DarkroomError, invalidRequest } from '../platform/errors.ts';
import { findLiving, sandboxNotFound } from './find.ts';
import { checkLabels } from './labels.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

/** Ten years: PostgreSQL's intervals and JavaScript's dates both hold it. */
const MAX_MINUTES = 10 * 365 * 24 * 60;

type Plain = Pick<
  Updateable<SandboxTable>,
  'labels' | 'is_public' | 'auto_stop_interval' | 'auto_archive_interval' | 'auto_delete_interval' | 'last_activity_at'
>;

/** Columns that are no part of the state. */
async function change(context: SandboxContext, caller: Caller, idOrName: string, values: Plain): Promise<SandboxRow> {
  const { id } = await findLiving(context.db, caller.organizationId, idOrName);
  const row = await context.db
    .updateTable('sandboxes')
    .set({ ...values, updated_at: new Date() })
    .where('id', '=', id)
    .where('state', 'not in', ['destroying', 'destroyed'])
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) throw sandboxNotFound(idOrName);
  return row;
}

export async function replaceLabels(
  context: SandboxContext,
  caller: Caller,
  idOrName: string,
  labels: Readonly<Record<string, string>>,
): Promise<SandboxRow> {
  checkLabels(labels);
  return change(context, caller, idOrName, { labels: JSON.stringify(labels) });
}

export function setPublic(context: SandboxContext, caller: Caller, idOrName: string, isPublic: boolean) {
  return change(context, caller, idOrName, { is_public: isPublic });
}

/** Minutes without activity; 0 is off. */
export async function setAutoStop(context: SandboxContext, caller: Caller, idOrName: string, minutes: number) {
  checkMinutes('Auto-stop', minutes, 0);
  // Counted from now on: a sandbox must not stop at the moment in which somebody asks for a shorter time.
  const row = await change(context, caller, idOrName, { auto_stop_interval: minutes, last_activity_at: new Date() });
  if (minutes > 0) context.schedule.consider(new Date(row.last_activity_at.getTime() + minutes * 60_000));
  return row;
}

/** Kept for clients; there is no archive yet. */
export async function setAutoArchive(context: SandboxContext, caller: Caller, idOrName: string, minutes: number) {
  checkMinutes('Auto-archive', minutes, 0);
  return change(context, caller, idOrName, { auto_archive_interval: minutes });
}

/** Minutes after a stop; 0 is at the stop, a negative one never. */
export async function setAutoDelete(context: SandboxContext, caller: Caller, idOrName: string, minutes: number) {
  checkMinutes('Auto-delete', minutes, -MAX_MINUTES);
  const row = await change(context, caller, idOrName, { auto_delete_interval: Math.max(-1, minutes) });
  if (row.state === 'stopped' && row.stopped_at !== null && minutes >= 0) {
    context.schedule.consider(new Date(row.stopped_at.getTime() + minutes * 60_000));
  }
  return row;
}

export async function noteActivity(context: SandboxContext, caller: Caller, idOrName: string): Promise<void> {
  const row = await findLiving(context.db, caller.organizationId, idOrName);
  context.activity.touch(row.id);
}

function checkMinutes(what: string, minutes: number, min: number): void {
  if (Number.isInteger(minutes) && minutes >= min && minutes <= MAX_MINUTES) return;
  throw invalidRequest(`${what} interval must be a whole number of minutes${min === 0 ? ', 0 or more' : ''}`);
}

/** What the dialect has routes for and this server cannot do yet. The sandbox is looked up first: 404 goes before. */
export async function refuse(context: SandboxContext, caller: Caller, idOrName: string, what: string): Promise<never> {
  await findLiving(context.db, caller.organizationId, idOrName);
  throw new DarkroomError('invalid_request', `${what} is not supported by this server yet`);
}
