import { moveSandbox } from '../lifecycle/move.ts';
import { DarkroomError, invalidRequest, messageOf } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { changeInProgress, findLiving } from './find.ts';
import { answerWithin } from './hold.ts';
import { diskBytes, machineLimits } from './launch.ts';
import { reserveRoom } from './quota.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

/** Cores, GiB, GiB; what is absent stays. */
export interface ResizeRequest {
  cpu?: number | undefined;
  memory?: number | undefined;
  disk?: number | undefined;
}

type Size = Pick<SandboxRow, 'cpu' | 'memory' | 'disk'>;

/**
 * Changes what a started or stopped sandbox may take, within its organization's quota. At once where it runs, else at its next
 * start. Raises `invalid_request` for a smaller disk, or less memory than it holds; it is then as it was.
 */
export async function resizeSandbox(
  context: SandboxContext,
  caller: Caller,
  idOrName: string,
  request: ResizeRequest,
): Promise<SandboxRow> {
  checkRequest(request);
  const found = await findLiving(context.db, caller.organizationId, idOrName);
  if (found.state === 'error' || found.state === 'paused') {
    throw invalidRequest(`Sandbox cannot be resized: its state is ${found.state}`, { hint: 'Start or stop it first.' });
  }
  const entered = await enterResizing(context, caller, found.id, request);
  return answerWithin(context, found, finishResize(context, caller, entered.row, entered));
}

/** Writes the new size together with the state, under the lock of the quota: two resizes at once cannot both take the last room. */
async function enterResizing(context: SandboxContext, caller: Caller, id: string, request: ResizeRequest) {
  return context.db.transaction().execute(async (trx) => {
    // First, as starts do: whoever holds it is the only one who gives out room, or changes a size.
    const { organizationId } = caller;
    await trx.selectFrom('organizations').select('id').where('id', '=', organizationId).forNoKeyUpdate().execute();
    const before = await trx.selectFrom('sandboxes').selectAll().where('id', '=', id).executeTakeFirst();
    if (before === undefined || (before.state !== 'started' && before.state !== 'stopped')) throw changeInProgress();
    const size = sizeOf({ ...before, ...defined(request) });
    if (size.disk < before.disk) {
      throw invalidRequest(`Disk size can only be increased: it is ${before.disk}GiB`);
    }
    const running = before.state === 'started';
    await reserveRoom(trx, organizationId, { ...size, gpu: before.gpu }, { sandboxId: id, isIdle: !running });
    const row = await moveSandbox(trx, id, {
      from: [before.state],
      to: 'resizing',
      actor: caller.actor,
      ownerId: context.settings.instanceId,
      set: { ...size, desired_state: 'resized' },
    });
    if (row === undefined) throw changeInProgress();
    return { row, running, before };
  });
}

/** The second half, also of one that an earlier server began. What the machine refuses is undone. */
export async function finishResize(
  context: SandboxContext,
  caller: Pick<Caller, 'actor'>,
  row: SandboxRow,
  how: { running: boolean; before?: SandboxRow },
): Promise<SandboxRow> {
  const state = how.running ? 'started' : 'stopped';
  const leave = (set: Partial<Size>, reason?: string) =>
    moveSandbox(context.db, row.id, {
      from: ['resizing'],
      to: state,
      actor: caller.actor,
      set: { ...set, desired_state: state },
      ...(reason === undefined ? {} : { reason }),
    });
  await failpoint('resize.row-written');
  if (how.running) {
    try {
      const grows = context.settings.diskLimits && row.disk > (how.before?.disk ?? row.disk);
      await context.runtime.resize(row.id, { ...machineLimits(row), ...(grows ? { diskBytes: diskBytes(row) } : {}) });
    } catch (cause) {
      await leave(await takenBack(context, how.before), `It could not be resized: ${messageOf(cause)}`);
      throw failure(cause);
    }
  }
  await failpoint('resize.applied');
  const resized = await leave({});
  if (resized === undefined) throw changeInProgress();
  await failpoint('resize.done');
  return resized;
}

/** What a refused resize leaves in the row is what the machine has: memory that is in use by now cannot be taken back. */
async function takenBack(context: SandboxContext, before: SandboxRow | undefined): Promise<Partial<Size>> {
  if (before === undefined) return {};
  try {
    await context.runtime.resize(before.id, machineLimits(before));
    return sizeOf(before);
  } catch {
    return { disk: before.disk };
  }
}

function checkRequest(request: ResizeRequest): void {
  const amounts = Object.values(defined(request));
  if (amounts.length === 0) throw invalidRequest('At least one of cpu, memory and disk is required');
  if (amounts.some((amount) => !Number.isFinite(amount) || amount <= 0)) {
    throw invalidRequest('cpu, memory and disk must be positive numbers');
  }
}

function defined({ cpu, memory, disk }: ResizeRequest): Partial<Size> {
  return {
    ...(cpu === undefined ? {} : { cpu }),
    ...(memory === undefined ? {} : { memory }),
    ...(disk === undefined ? {} : { disk }),
  };
}

const sizeOf = ({ cpu, memory, disk }: Size): Size => ({ cpu, memory, disk });

function failure(cause: unknown): DarkroomError {
  if (cause instanceof DarkroomError && cause.isUserError) return cause;
  return new DarkroomError('unavailable', `The sandbox was not resized: ${messageOf(cause)}`, {
    cause,
    retryable: true,
  });
}
