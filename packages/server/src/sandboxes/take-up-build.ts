import { moveSandbox } from '../lifecycle/move.ts';
import type { SandboxContext } from './types.ts';

/** Gives the build of a sandbox, whose server ended, its job again. False for a sandbox in another state. */
export async function takeUpBuild(
  { db, jobs }: Pick<SandboxContext, 'db' | 'jobs'>,
  { id, state, ownerId }: { id: string; state: string; ownerId: string | null },
): Promise<boolean> {
  if (state !== 'pending_build' && state !== 'building_snapshot') return false;
  await db.transaction().execute(async (trx) => {
    const move = { from: [state], to: 'pending_build', actor: 'system' } as const;
    const guard = ownerId === null ? { unowned: true } : { heldBy: ownerId };
    const row = await moveSandbox(trx, id, { ...move, ...guard, reason: 'The server that worked on the build ended' });
    // Without one, another server was quicker.
    if (row?.build_id != null) await jobs.enqueue(trx, 'snapshot.build', row.build_id, { buildId: row.build_id });
  });
  return true;
}
