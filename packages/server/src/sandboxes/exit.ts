import { moveSandbox } from '../lifecycle/move.ts';
import { afterStop } from './stop.ts';
import type { SandboxContext, SandboxRow } from './types.ts';

/** A running sandbox turned out to be at its end, and nobody had asked for it: stopped, with the reason for people to see. */
export async function markEnded(
  context: SandboxContext,
  sandboxId: string,
  reason: string,
): Promise<SandboxRow | undefined> {
  context.entrypoints.stopped(sandboxId);
  context.terminals.sandboxEnded(sandboxId);
  context.interpreters.sandboxEnded(sandboxId);
  context.sessions.sandboxEnded(sandboxId);
  const ended = await context.db.transaction().execute(async (trx) => {
    const row = await moveSandbox(trx, sandboxId, {
      from: ['started', 'resizing', 'pausing', 'paused', 'resuming'],
      to: 'stopped',
      actor: 'system',
      reason,
      set: { desired_state: 'stopped', stopped_at: new Date() },
    });
    // Not a failed state, so the move itself keeps no reason.
    if (row !== undefined) {
      await trx.updateTable('sandboxes').set({ error_reason: reason }).where('id', '=', sandboxId).execute();
    }
    return row;
  });
  if (ended !== undefined) await afterStop(context, ended);
  return ended;
}

/** What the runtime knows of the cause, as a sentence. */
export function exitReason(cause: string): string {
  return `The sandbox ended by itself (${cause}). Its files are kept: start it again.`;
}
