import { moveSandbox } from '../lifecycle/move.ts';
import { DarkroomError, invalidRequest, messageOf } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { changeInProgress, findLiving } from './find.ts';
import { answerWithin } from './hold.ts';
import { considerStop } from './launch.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

type Actor = Pick<Caller, 'actor'>;

/**
 * Stops a sandbox's processes where they are; they keep their memory, and its share of the quota. Auto-stop does not count
 * meanwhile. One that is paused is answered as it is.
 */
export async function pauseSandbox(context: SandboxContext, caller: Caller, idOrName: string): Promise<SandboxRow> {
  const row = await findLiving(context.db, caller.organizationId, idOrName);
  if (row.state === 'paused') return row;
  if (row.state === 'stopped' || row.state === 'error') {
    throw invalidRequest(`Sandbox is not started: its state is ${row.state}`, {
      hint: 'Only one that runs can be paused.',
    });
  }
  const pausing = await moveSandbox(context.db, row.id, {
    from: ['started'],
    to: 'pausing',
    actor: caller.actor,
    ownerId: context.settings.instanceId,
    set: { desired_state: 'paused' },
  });
  if (pausing === undefined) throw changeInProgress();
  return answerWithin(context, row, finishPause(context, caller, pausing));
}

/** The second half of a pause, also of one that an earlier server began. What cannot be paused goes on. */
export async function finishPause(context: SandboxContext, caller: Actor, row: SandboxRow): Promise<SandboxRow> {
  try {
    await failpoint('pause.row-written');
    await context.runtime.pause(row.id);
    await failpoint('pause.frozen');
  } catch (cause) {
    await moveSandbox(context.db, row.id, {
      from: ['pausing'],
      to: 'started',
      actor: caller.actor,
      reason: `It could not be paused: ${messageOf(cause)}`,
      set: { desired_state: 'started' },
    });
    throw failure('pause', cause);
  }
  const paused = await moveSandbox(context.db, row.id, { from: ['pausing'], to: 'paused', actor: caller.actor });
  if (paused === undefined) throw changeInProgress();
  await failpoint('pause.paused');
  return paused;
}

export async function resumeSandbox(context: SandboxContext, caller: Caller, row: SandboxRow): Promise<SandboxRow> {
  const resuming = await moveSandbox(context.db, row.id, {
    from: ['paused'],
    to: 'resuming',
    actor: caller.actor,
    ownerId: context.settings.instanceId,
    set: { desired_state: 'started' },
  });
  if (resuming === undefined) throw changeInProgress();
  return answerWithin(context, row, finishResume(context, caller, resuming));
}

/** The minutes without activity begin anew. */
export async function finishResume(context: SandboxContext, caller: Actor, row: SandboxRow): Promise<SandboxRow> {
  try {
    await failpoint('resume.row-written');
    await context.runtime.resume(row.id);
    await failpoint('resume.thawed');
  } catch (cause) {
    await moveSandbox(context.db, row.id, {
      from: ['resuming'],
      to: 'paused',
      actor: caller.actor,
      reason: `It could not be resumed: ${messageOf(cause)}`,
      set: { desired_state: 'paused' },
    });
    throw failure('resume', cause);
  }
  const started = await moveSandbox(context.db, row.id, {
    from: ['resuming'],
    to: 'started',
    actor: caller.actor,
    set: { last_activity_at: new Date() },
  });
  if (started === undefined) throw changeInProgress();
  await failpoint('resume.started');
  considerStop(context, started);
  return started;
}

function failure(what: string, cause: unknown): DarkroomError {
  if (cause instanceof DarkroomError && cause.isUserError) return cause;
  return new DarkroomError('unavailable', `The sandbox did not ${what}: ${messageOf(cause)}`, {
    cause,
    retryable: true,
  });
}
