import { moveSandbox } from '../lifecycle/move.ts';
import { DarkroomError, messageOf } from '../platform/errors.ts';
import type { ContainerSpec } from '../runtime/types.ts';
import { sandboxEnvironment } from './environment.ts';
import { changeInProgress } from './find.ts';
import { sandboxUser } from './profile.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

const GIB = 1024 ** 3;
/** Below this a container cannot even begin. */
const MIN_MEMORY_BYTES = 16 * 1024 * 1024;

type LaunchState = 'creating' | 'starting';

/** Runs the container of a sandbox in `creating` or `starting`, and makes it `started` or `error`. */
export async function launch(
  context: SandboxContext,
  caller: Pick<Caller, 'actor'>,
  row: SandboxRow,
  from: LaunchState,
): Promise<SandboxRow> {
  const began = performance.now();
  try {
    await context.runtime.start(await containerSpec(context, row));
    const user = await sandboxUser(context.runtime, row);
    const started = await markStarted(context, caller, row, from, user.name);
    context.onStarted?.((performance.now() - began) / 1000);
    context.background('start an entry point', context.entrypoints.start(started));
    considerStop(context, started);
    return started;
  } catch (cause) {
    if (cause instanceof DarkroomError && cause.code === 'conflict') throw cause;
    throw await markFailed(context, caller, row, from, cause);
  }
}

/** A sandbox whose minutes are counted becomes due; the schedule looks at the exact time itself. */
export function considerStop(context: SandboxContext, row: SandboxRow): void {
  if (row.auto_stop_interval <= 0) return;
  context.schedule.consider(new Date(row.last_activity_at.getTime() + row.auto_stop_interval * 60_000));
}

async function markStarted(
  context: SandboxContext,
  caller: Pick<Caller, 'actor'>,
  row: SandboxRow,
  from: LaunchState,
  userName: string,
): Promise<SandboxRow> {
  const started = await moveSandbox(context.db, row.id, {
    from: [from],
    to: 'started',
    actor: caller.actor,
    durable: true,
    set: {
      user_name: userName,
      desired_state: 'started',
      last_activity_at: new Date(),
      stopped_at: null,
    },
  });
  if (started !== undefined) return started;
  await abandon(context, row.id);
  throw changeInProgress();
}

/** What runs now belongs to nobody. Of a sandbox that was deleted meanwhile, nothing stays: its job may have come too early. */
async function abandon(context: SandboxContext, id: string): Promise<void> {
  const row = await context.db.selectFrom('sandboxes').select('state').where('id', '=', id).executeTakeFirst();
  if (row === undefined || row.state === 'destroying' || row.state === 'destroyed') await context.runtime.remove(id);
  else await context.runtime.stop(id, { graceMs: 0 });
}

async function markFailed(
  context: SandboxContext,
  caller: Pick<Caller, 'actor'>,
  row: SandboxRow,
  from: LaunchState,
  cause: unknown,
): Promise<DarkroomError> {
  const known = cause instanceof DarkroomError ? cause : undefined;
  const reason = messageOf(cause);
  const code = known === undefined || known.code === 'internal' ? 'unavailable' : known.code;
  context.log.error({ sandboxId: row.id, err: cause }, 'a sandbox did not start');
  // The failure may have come after the container ran (its user does not exist): it must not go on running.
  await abandon(context, row.id).catch((error: unknown) => {
    context.log.error({ sandboxId: row.id, err: error }, 'stopping what is left of a failed start');
  });
  await moveSandbox(context.db, row.id, {
    from: [from],
    to: 'error',
    actor: caller.actor,
    reason,
    errorCode: code,
  });
  return new DarkroomError(code, `Sandbox ${row.name} failed to start: ${reason}`, {
    cause,
    retryable: known?.retryable ?? false,
    ...(known?.hint === undefined ? {} : { hint: known.hint }),
  });
}

async function containerSpec(context: SandboxContext, row: SandboxRow): Promise<ContainerSpec> {
  const layers = await Promise.all(
    row.layers.map(async (diffId) => {
      const layer = await context.layers.get(diffId);
      if (layer !== undefined) return layer.path;
      throw new DarkroomError('unavailable', `Layer ${diffId} of snapshot ${row.snapshot_name} is not on this machine`);
    }),
  );
  return {
    id: row.id,
    hostname: row.id,
    layers,
    env: sandboxEnvironment(row),
    limits: {
      cpu: row.cpu,
      memoryBytes: Math.max(MIN_MEMORY_BYTES, Math.round(row.memory * GIB)),
      pids: context.settings.pidsLimit,
    },
    network: { blockAll: row.network_block_all },
  };
}
