import { moveSandbox } from '../lifecycle/move.ts';
import { invalidRequest } from '../platform/errors.ts';
import { changeInProgress, findLiving } from './find.ts';
import { answerWithin } from './hold.ts';
import { finishLaunch, runContainer } from './launch.ts';
import { resumeSandbox } from './pause.ts';
import { reserveRoom } from './quota.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

/** Starts a stopped or failed sandbox again, with the files that it had; resumes a paused one. One that runs is answered as it is. */
export async function startSandbox(context: SandboxContext, caller: Caller, idOrName: string): Promise<SandboxRow> {
  const row = await findLiving(context.db, caller.organizationId, idOrName);
  if (row.state === 'started') return row;
  if (row.state === 'paused') return resumeSandbox(context, caller, row);
  if (row.build_id !== null && row.layers.length === 0) throw notBuilt(row);
  const starting = await context.db.transaction().execute(async (trx) => {
    await reserveRoom(trx, caller.organizationId, row, { sandboxId: row.id });
    return await moveSandbox(trx, row.id, {
      from: ['stopped', 'error'],
      to: 'starting',
      actor: caller.actor,
      ownerId: context.settings.instanceId,
      durable: false,
      set: { desired_state: 'started', runner_id: context.settings.runnerId },
    });
  });
  if (starting === undefined) throw changeInProgress();
  const running = runContainer(context, starting, 'starting');
  return answerWithin(context, row, finishLaunch(context, caller, starting, 'starting', running));
}

function notBuilt({ name, state }: SandboxRow) {
  if (state === 'pending_build' || state === 'building_snapshot') {
    return invalidRequest(`Sandbox ${name} is being built: it starts by itself when that is done`);
  }
  return invalidRequest(`Sandbox ${name} has no image: its build has not succeeded, and its state is ${state}`, {
    hint: 'Create it again when what its log says is put right.',
  });
}
