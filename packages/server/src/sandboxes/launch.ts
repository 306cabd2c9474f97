import { moveSandbox } from '../lifecycle/move.ts';
import { settle } from '../lifecycle/settle.ts';
import { DarkroomError, messageOf } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { ContainerSpec } from '../runtime/types.ts';
import { mountedLayers } from '../snapshots/mounted-layers.ts';
import { sandboxEnvironment } from './environment.ts';
import { changeInProgress, readRow } from './find.ts';
import { applyNetwork } from './network.ts';
import { isSameNetwork, type NetworkColumns, policyOf } from './network-policy.ts';
import type { SandboxProfile } from './profile.ts';
import { classOf } from './sandbox-class.ts';
import { type SameFiles, settleFiles } from './settle-files.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

const GIB = 1024 ** 3;
/** Below this a container cannot even begin. */
const MIN_MEMORY_BYTES = 16 * 1024 * 1024;

type LaunchState = 'creating' | 'starting';

/** What a container is made from: a sandbox's row, or what is about to become one. */
export type ContainerSource = Pick<
  SandboxRow,
  'id' | 'layers' | 'snapshot_name' | 'user_name' | 'env' | 'image' | 'cpu' | 'memory' | 'disk'
> &
  NetworkColumns;

/** Runs the container, and finds out as whom commands run in it. */
export async function runContainer(
  context: SandboxContext,
  source: ContainerSource,
  from: LaunchState,
  files: 'fresh' | SameFiles = from === 'creating' ? 'fresh' : {},
): Promise<SandboxProfile> {
  // After a stop that failed, something of it may still run.
  if (from === 'starting') {
    await context.runtime.stop(source.id, { graceMs: 0 });
    await context.entrypoints.prepare(source.id);
  }
  {
    using mounted = await mountedLayers(context.layers, source.layers, `snapshot ${source.snapshot_name}`);
    const paths = mounted.layers.map(({ path }) => path);
    await context.runtime.start(containerSpec(context, source, paths));
  }
  return files === 'fresh' ? context.profiles.ofFresh(source) : settleFiles(context, source, files);
}

/** Makes a sandbox in `creating` or `starting` what its container tells: `started` or `error`. */
export async function finishLaunch(
  context: SandboxContext,
  caller: Pick<Caller, 'actor'>,
  row: SandboxRow,
  from: LaunchState,
  running: Promise<SandboxProfile>,
): Promise<SandboxRow> {
  const profile = await running.catch(async (cause: unknown) => {
    throw await markFailed(context, caller, row, from, cause);
  });
  await failpoint('start.running');
  const started = await markStarted(context, caller, row, from, profile.user.name);
  await failpoint('start.started');
  context.profiles.begin(started, profile);
  // Changed while it started, when there was no container to change.
  if (!isSameNetwork(started, row)) {
    const applied = applyNetwork(context, started);
    context.background('apply a change of the network', applied);
    await applied.catch(() => {});
  }
  context.onStarted?.((Date.now() - row.state_entered_at.getTime()) / 1000);
  context.background('start an entry point', context.entrypoints.start(started));
  considerStop(context, started);
  return started;
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
  let started: SandboxRow | undefined;
  try {
    const toStarted = () =>
      moveSandbox(context.db, row.id, {
        from: [from],
        to: 'started',
        actor: caller.actor,
        durable: true,
        set: { user_name: userName, desired_state: 'started', last_activity_at: new Date(), stopped_at: null },
      });
    started = await settle('started', toStarted, () => readRow(context.db, row.id));
  } finally {
    // It was deleted meanwhile, its deadline passed, or the database is away.
    if (started === undefined) await abandon(context, row.id);
  }
  if (started === undefined) throw changeInProgress();
  return started;
}

/** What runs now belongs to nobody. Of a sandbox that was deleted meanwhile, nothing stays: its job may have come too early. */
async function abandon(context: SandboxContext, id: string): Promise<void> {
  await context.runtime.stop(id, { graceMs: 0 });
  const row = await context.db.selectFrom('sandboxes').select('state').where('id', '=', id).executeTakeFirst();
  if (row === undefined || row.state === 'destroying' || row.state === 'destroyed') await context.runtime.remove(id);
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
  const toError = () =>
    moveSandbox(context.db, row.id, { from: [from], to: 'error', actor: caller.actor, reason, errorCode: code });
  await settle('error', toError, () => readRow(context.db, row.id));
  return new DarkroomError(code, `Sandbox ${row.name} failed to start: ${reason}`, {
    cause,
    retryable: known?.retryable ?? false,
    ...(known?.hint === undefined ? {} : { hint: known.hint }),
  });
}

/** Before anything is written down: what a sandbox would be made of is there. */
export async function assertLayers(
  context: SandboxContext,
  { layers, snapshot_name: name }: Pick<SandboxRow, 'layers' | 'snapshot_name'>,
): Promise<void> {
  using _found = await mountedLayers(context.layers, layers, `snapshot ${name}`);
}

export function machineLimits(row: Pick<SandboxRow, 'cpu' | 'memory'>) {
  return { cpu: row.cpu, memoryBytes: Math.max(MIN_MEMORY_BYTES, Math.round(row.memory * GIB)) };
}

export const diskBytes = (row: Pick<SandboxRow, 'disk'>) => Math.round(row.disk * GIB);

function containerSpec(context: SandboxContext, row: ContainerSource, layers: string[]): ContainerSpec {
  return {
    id: row.id,
    hostname: row.id,
    layers,
    env: sandboxEnvironment(row),
    limits: {
      ...machineLimits(row),
      pids: context.settings.pidsLimit,
      ...(context.settings.diskLimits ? { diskBytes: diskBytes(row) } : {}),
    },
    network: policyOf(row, context.settings.bandwidthMbps),
    sandboxClass: classOf(row),
  };
}
