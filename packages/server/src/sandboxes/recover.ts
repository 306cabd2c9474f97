import { moveSandbox } from '../lifecycle/move.ts';
import { messageOf } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { exitReason, markEnded } from './exit.ts';
import { considerStop } from './launch.ts';
import { applyNetwork } from './network.ts';
import { finishPause, finishResume } from './pause.ts';
import { finishResize } from './resize.ts';
import { afterStop, finishStop } from './stop.ts';
import { takeUpBuild } from './take-up-build.ts';
import type { SandboxContext, SandboxRow } from './types.ts';

const SYSTEM = { actor: 'system' } as const;
const GRACE_MS = 10_000;

export interface Recovered {
  running: number;
  ended: number;
  removed: number;
}

/**
 * Makes rows and containers of this runner agree after a restart, before anything is served. What was acknowledged is kept: a
 * started sandbox that runs goes on. What was not is ended cleanly, so that a half-made sandbox never looks like a whole one.
 */
export async function recoverSandboxes(context: SandboxContext): Promise<Recovered> {
  const containers = new Map((await context.runtime.list()).map((status) => [status.id, status]));
  const rows = await context.db
    .selectFrom('sandboxes')
    .selectAll()
    .where('runner_id', '=', context.settings.runnerId)
    .where('state', '<>', 'destroyed')
    .execute();
  const counts: Recovered = { running: 0, ended: 0, removed: 0 };
  const recover = async (row: SandboxRow): Promise<void> => {
    const { running, paused } = containers.get(row.id) ?? { running: false, paused: false };
    containers.delete(row.id);
    try {
      // It stood still for a copy of its files, and so did the guard that lets it go on.
      if (row.state === 'started' && paused) await context.runtime.resume(row.id);
      if (await recoverOne(context, row, running)) counts.running++;
      else if (row.state !== 'stopped' && row.state !== 'error') counts.ended++;
    } catch (error) {
      // One sandbox that cannot be put right must not keep the server from serving the others; its deadline still ends it.
      context.log.error({ sandboxId: row.id, err: error }, `recovering a sandbox: ${messageOf(error)}`);
    }
    await failpoint('recover.one-sandbox');
  };
  // Side by side: each may take its grace, and the server serves nobody before.
  const stops = rows.filter(({ state }) => state === 'stopping').map(recover);
  for (const row of rows) if (row.state !== 'stopping') await recover(row);
  await Promise.all(stops);
  for (const id of containers.keys()) {
    context.log.warn({ sandboxId: id }, 'a container that no sandbox knows is removed');
    try {
      await context.runtime.remove(id);
      counts.removed++;
    } catch (error) {
      // The next start of the server finds it again.
      context.log.error({ sandboxId: id, err: error }, `removing an unknown container: ${messageOf(error)}`);
    }
  }
  await failpoint('recover.sandboxes');
  return counts;
}

/** What an earlier server was asked for is done now. */
async function finishInterrupted(context: SandboxContext, row: SandboxRow, running: boolean): Promise<void> {
  if (row.state === 'resizing') await finishResize(context, SYSTEM, row, { running });
  else if (row.state === 'pausing') await finishPause(context, SYSTEM, row);
  else if (row.state === 'resuming') await finishResume(context, SYSTEM, row);
  // A paused one is, unless somebody thawed it by hand.
  else await context.runtime.pause(row.id);
}

/** Whether it runs and stays. */
async function recoverOne(context: SandboxContext, row: SandboxRow, running: boolean): Promise<boolean> {
  switch (row.state) {
    case 'started':
      if (!running) {
        await markEnded(context, row.id, exitReason('while the server was away'));
        return false;
      }
      context.background('start an entry point', context.entrypoints.adopt(row));
      considerStop(context, row);
      // A change may be written down and not in force, when the server was killed in between.
      await applyNetwork(context, row);
      return true;
    case 'resizing':
    case 'pausing':
    case 'paused':
    case 'resuming':
      if (!running && row.state !== 'resizing') {
        await markEnded(context, row.id, exitReason('while the server was away'));
        return false;
      }
      if (running) await context.entrypoints.adopt(row);
      await finishInterrupted(context, row, running);
      if (running) await applyNetwork(context, row);
      return running;
    case 'pending_build':
    case 'building_snapshot':
      await takeUpBuild(context, { id: row.id, state: row.state, ownerId: row.owner_id });
      return false;
    case 'creating':
    case 'starting':
      await context.runtime.stop(row.id, { graceMs: 0 });
      await moveSandbox(context.db, row.id, {
        from: [row.state],
        to: 'error',
        ...SYSTEM,
        errorCode: 'unavailable',
        reason: 'The server ended while the sandbox was starting. Start it again, or delete it.',
      });
      return false;
    case 'stopping':
      await finishStop(context, SYSTEM, row, { graceMs: GRACE_MS });
      return false;
    case 'destroying':
      // The job is in the queue since the row says so, but the queue may have given it up meanwhile.
      await context.db
        .transaction()
        .execute((trx) => context.jobs.enqueue(trx, 'sandbox.remove', row.id, { sandboxId: row.id }));
      return false;
    default:
      if (running) await context.runtime.stop(row.id, { graceMs: 0 });
      if (row.state === 'stopped') await afterStop(context, row);
      return false;
  }
}
