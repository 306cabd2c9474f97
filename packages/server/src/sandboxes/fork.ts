import { randomUUID } from 'node:crypto';
import { DarkroomError, messageOf } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { assertNotSuspended, getOrganization } from '../tenancy/organizations.ts';
import { findCopyable } from './capture.ts';
import { type Child, checkEnvironments, checkForks, type ForkChild, insertForks, reserveForks } from './fork-rows.ts';
import { answerWithin } from './hold.ts';
import { assertLayers, finishLaunch, runContainer } from './launch.ts';
import { destroy } from './remove.ts';
import type { SameFiles } from './settle-files.ts';
import { noteSnapshotUse } from './snapshot-use.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

export type { ForkChild } from './fork-rows.ts';

/**
 * New sandboxes with the files that this one has at one moment. It goes on; what runs in it does not run in them. All of them or none: raises when
 * one cannot be made or does not start, and nothing of the others stays. Those that still start when a client may not wait longer are
 * answered as they are then.
 */
export async function forkSandbox(
  context: SandboxContext,
  caller: Caller,
  idOrName: string,
  wanted: readonly ForkChild[],
): Promise<SandboxRow[]> {
  checkForks(wanted);
  // The sandbox may be deleted meanwhile: its layers stay until the rows of its children name them.
  using _hold = context.layers.hold();
  const source = await findCopyable(context, caller, idOrName, 'forked');
  checkEnvironments(source, wanted);
  assertNotSuspended(await getOrganization(context.db, caller.organizationId));
  const children = wanted.map((child) => ({ ...child, id: randomUUID() }));
  await assertLayers(context, source);
  // Asked here too, so that what is refused copies nothing.
  await context.db.transaction().execute((trx) => reserveForks(trx, source, children));
  const work = makeForks(context, caller, source, children);
  // The end of the server waits for it, whether the client does or not.
  context.background(
    `forks of sandbox ${source.id}`,
    work.catch(() => {}),
  );
  return await work;
}

/**
 * Their files are there before their rows are, so that no row ever stands for a child without them: a server that dies in between leaves files
 * that nobody knows, and the next one removes them.
 */
async function makeForks(
  context: SandboxContext,
  caller: Caller,
  source: SandboxRow,
  children: readonly Child[],
): Promise<SandboxRow[]> {
  const ids = children.map(({ id }) => id);
  await context.runtime.fork(source.id, ids);
  await failpoint('fork.placed');
  const rows = await insertForks(context, caller, source, children).catch(async (error: unknown) => {
    await takeBack(context, caller, ids);
    throw error;
  });
  await failpoint('fork.rows-written');
  if (source.snapshot_id !== null) {
    const use = noteSnapshotUse(context.db, { id: source.snapshot_id, last_used_at: null });
    context.background('note the use of a snapshot', use);
  }
  const same: SameFiles = {};
  const launches = rows.map((row) => answerWithin(context, row, launch(context, caller, row, same)));
  return allOrNone(context, caller, rows, await Promise.allSettled(launches));
}

async function launch(context: SandboxContext, caller: Caller, row: SandboxRow, same: SameFiles): Promise<SandboxRow> {
  const running = runContainer(context, row, 'creating', same);
  const started = await finishLaunch(context, caller, row, 'creating', running);
  await failpoint('fork.one-started');
  return started;
}

/** Somebody may have deleted one of them meanwhile, which fails the others as little as it would later. */
async function allOrNone(
  context: SandboxContext,
  caller: Caller,
  rows: readonly SandboxRow[],
  outcomes: readonly PromiseSettledResult<SandboxRow>[],
): Promise<SandboxRow[]> {
  const reasons = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
  if (reasons.length === 0) return outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? outcome.value : []));
  const now = await findAll(context, rows);
  const failed = rows.length === 1 || now.some(({ state }) => state === 'error');
  if (!failed) return now;
  const why = 'One of the forks that were made together did not start';
  const gone = await Promise.allSettled(rows.map(({ id }) => destroy(context, caller, id, { reason: why })));
  for (const outcome of gone) {
    if (outcome.status === 'rejected') context.log.error({ err: outcome.reason }, 'a fork that was taken back stays');
  }
  const isCause = (reason: unknown) => !(reason instanceof DarkroomError) || reason.code !== 'conflict';
  throw reasons.find(isCause) ?? reasons[0];
}

async function findAll({ db }: SandboxContext, rows: readonly SandboxRow[]): Promise<SandboxRow[]> {
  const ids = rows.map(({ id }) => id);
  const found = await db.selectFrom('sandboxes').selectAll().where('id', 'in', ids).execute();
  return rows.map((row) => found.find(({ id }) => id === row.id) ?? row);
}

/** Where the database was lost in the middle, the rows may be there all the same, and a row without its files would start with none. */
async function takeBack(context: SandboxContext, caller: Caller, ids: readonly string[]): Promise<void> {
  try {
    const rows = await context.db.selectFrom('sandboxes').select('id').where('id', 'in', ids).execute();
    const written = new Set(rows.map(({ id }) => id));
    await removeFiles(
      context,
      ids.filter((id) => !written.has(id)),
    );
    for (const id of written) await destroy(context, caller, id, { reason: 'The forks could not be made' });
  } catch (error) {
    // Files of none are removed by the next server.
    context.log.error({ err: error }, `forks that were not made: ${messageOf(error)}`);
  }
}

/** What stays all the same is removed by the next server. */
async function removeFiles({ runtime, log }: SandboxContext, ids: readonly string[]): Promise<void> {
  for (const outcome of await Promise.allSettled(ids.map((id) => runtime.remove(id)))) {
    if (outcome.status === 'rejected')
      log.error({ err: outcome.reason }, `files of forks: ${messageOf(outcome.reason)}`);
  }
}
