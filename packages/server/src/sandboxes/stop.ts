import { moveSandbox } from '../lifecycle/move.ts';
import { settle } from '../lifecycle/settle.ts';
import { DarkroomError, messageOf } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { changeInProgress, findLiving, readRow } from './find.ts';
import { answerWithin } from './hold.ts';
import { destroy } from './remove.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

/** Processes get this long between SIGTERM and SIGKILL. */
const GRACE_MS = 10_000;

/** Stops a running or paused sandbox and keeps its files. One that is stopped is answered as it is. */
export async function stopSandbox(
  context: SandboxContext,
  caller: Caller,
  idOrName: string,
  options: { force: boolean },
): Promise<SandboxRow> {
  const row = await findLiving(context.db, caller.organizationId, idOrName);
  if (row.state === 'stopped') return row;
  const stopping = await enterStopping(context, caller, row.id, { from: ['started', 'paused'] });
  if (stopping === undefined) throw changeInProgress();
  return answerWithin(context, row, finishStop(context, caller, stopping, { graceMs: options.force ? 0 : GRACE_MS }));
}

export function enterStopping(
  context: SandboxContext,
  caller: Pick<Caller, 'actor'>,
  id: string,
  options: { reason?: string; from?: readonly ('started' | 'paused')[] } = {},
): Promise<SandboxRow | undefined> {
  return moveSandbox(context.db, id, {
    from: options.from ?? ['started'],
    to: 'stopping',
    actor: caller.actor,
    ownerId: context.settings.instanceId,
    set: { desired_state: 'stopped' },
    ...(options.reason === undefined ? {} : { reason: options.reason }),
  });
}

/** The second half of a stop, also of one that an earlier server began. */
export async function finishStop(
  context: SandboxContext,
  caller: Pick<Caller, 'actor'>,
  row: SandboxRow,
  options: { graceMs: number },
): Promise<SandboxRow> {
  try {
    await failpoint('stop.row-written');
    await context.runtime.stop(row.id, options);
    await failpoint('stop.ended');
  } catch (cause) {
    const reason = `The sandbox did not stop: ${messageOf(cause)}`;
    await moveSandbox(context.db, row.id, { from: ['stopping'], to: 'error', actor: caller.actor, reason });
    throw cause instanceof DarkroomError && cause.isUserError
      ? cause
      : new DarkroomError('unavailable', reason, { cause, retryable: true });
  }
  context.entrypoints.stopped(row.id);
  context.terminals.sandboxEnded(row.id);
  context.interpreters.sandboxEnded(row.id);
  context.sessions.sandboxEnded(row.id);
  const toStopped = () =>
    moveSandbox(context.db, row.id, {
      from: ['stopping'],
      to: 'stopped',
      actor: caller.actor,
      set: { stopped_at: new Date() },
    });
  const stopped = await settle('stopped', toStopped, () => readRow(context.db, row.id));
  if (stopped === undefined) throw changeInProgress();
  await failpoint('stop.stopped');
  await afterStop(context, stopped);
  return stopped;
}

/** Auto-delete is counted from here; 0 means now. */
export async function afterStop(context: SandboxContext, row: SandboxRow): Promise<void> {
  if (row.auto_delete_interval < 0 || row.stopped_at === null) return;
  if (row.auto_delete_interval === 0) {
    await destroy(context, { actor: 'system' }, row.id, { reason: 'Auto-delete when stopped' });
    return;
  }
  context.schedule.consider(new Date(row.stopped_at.getTime() + row.auto_delete_interval * 60_000));
}
