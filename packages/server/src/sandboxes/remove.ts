import { setTimeout as delay } from 'node:timers/promises';
import { moveSandbox } from '../lifecycle/move.ts';
import { failpoint } from '../platform/failpoints.ts';
import { findLiving, sandboxNotFound } from './find.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

/** Takes the sandbox away: its name is free when this resolves, its processes and files go in a job. */
export async function removeSandbox(context: SandboxContext, caller: Caller, idOrName: string): Promise<SandboxRow> {
  const row = await findLiving(context.db, caller.organizationId, idOrName);
  const destroying = await destroy(context, caller, row.id);
  if (destroying === undefined) throw sandboxNotFound(idOrName);
  await failpoint('remove.row-written');
  return destroying;
}

const ALIVE = [
  'pending_build',
  'building_snapshot',
  'creating',
  'starting',
  'started',
  'stopping',
  'stopped',
  'resizing',
  'pausing',
  'paused',
  'resuming',
  'error',
] as const;

export interface DestroyDeps extends Pick<SandboxContext, 'db'> {
  jobs: Pick<SandboxContext['jobs'], 'enqueue'>;
  settings: Pick<SandboxContext['settings'], 'instanceId'>;
}

/** `from`: only in these states; what somebody has started since it was looked for, stays. */
export function destroy(
  context: DestroyDeps,
  caller: Pick<Caller, 'actor'>,
  id: string,
  { reason, from = ALIVE }: { reason?: string; from?: readonly (typeof ALIVE)[number][] } = {},
): Promise<SandboxRow | undefined> {
  return context.db.transaction().execute(async (trx) => {
    const row = await moveSandbox(trx, id, {
      from,
      to: 'destroying',
      actor: caller.actor,
      ownerId: context.settings.instanceId,
      set: { desired_state: 'destroyed' },
      ...(reason === undefined ? {} : { reason }),
    });
    if (row !== undefined) await context.jobs.enqueue(trx, 'sandbox.remove', id, { sandboxId: id });
    return row;
  });
}

/** A removal that was promised may have no server after this one to do it. Bounded: the next one does the rest. */
const FINISH_AT_CLOSE_MS = 10_000;

/** At the end of the server, when jobs are no longer taken. */
export async function finishRemovals(context: SandboxContext): Promise<void> {
  const rows = await context.db
    .selectFrom('sandboxes')
    .select('id')
    .where('state', '=', 'destroying')
    .where('runner_id', '=', context.settings.runnerId)
    .execute();
  const removals = Promise.allSettled(rows.map(({ id }) => finishRemove(context, id)));
  await Promise.race([removals, delay(FINISH_AT_CLOSE_MS, undefined, { ref: false })]);
}

/** The job: may run again after any interruption. */
export async function finishRemove(context: SandboxContext, sandboxId: string): Promise<void> {
  await removeBuild(context, sandboxId);
  await failpoint('remove.build-removed');
  await context.runtime.remove(sandboxId);
  await failpoint('remove.files-removed');
  context.terminals.sandboxEnded(sandboxId);
  context.interpreters.sandboxEnded(sandboxId);
  context.sessions.sandboxEnded(sandboxId);
  await context.entrypoints.remove(sandboxId);
  await context.db.transaction().execute(async (trx) => {
    await moveSandbox(trx, sandboxId, { from: ['destroying'], to: 'destroyed', actor: 'job:sandbox.remove' });
    // Its row stays for a while, and they would as well.
    await trx.deleteFrom('ssh_accesses').where('sandbox_id', '=', sandboxId).execute();
    await trx.deleteFrom('preview_links').where('sandbox_id', '=', sandboxId).execute();
  });
  await failpoint('remove.destroyed');
}

/** A build that runs has heard of the removal, and ends. */
async function removeBuild({ db, builds }: SandboxContext, sandboxId: string): Promise<void> {
  const row = await db.selectFrom('sandboxes').select('build_id').where('id', '=', sandboxId).executeTakeFirst();
  if (row?.build_id == null) return;
  await builds.discard(row.build_id);
  await db.deleteFrom('builds').where('id', '=', row.build_id).execute();
}
