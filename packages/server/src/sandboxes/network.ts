import { DarkroomError } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { findLiving, sandboxNotFound } from './find.ts';
import { isSameNetwork, type NetworkRequest, networkColumns, policyOf } from './network-policy.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

// Each round more is a change that came during the one before.
const MAX_ROUNDS = 20;

/** Written down first, then put in force where the sandbox runs; connections that it no longer may have are cut. */
export async function setNetwork(
  context: SandboxContext,
  caller: Caller,
  idOrName: string,
  request: NetworkRequest,
): Promise<SandboxRow> {
  const { id } = await findLiving(context.db, caller.organizationId, idOrName);
  const changed = await context.db.transaction().execute(async (trx) => {
    const row = await trx
      .selectFrom('sandboxes')
      .selectAll()
      .where('id', '=', id)
      .where('state', 'not in', ['destroying', 'destroyed'])
      .forUpdate()
      .executeTakeFirst();
    if (row === undefined) throw sandboxNotFound(idOrName);
    const columns = networkColumns(request, row);
    if (isSameNetwork(columns, row)) return row;
    return await trx
      .updateTable('sandboxes')
      .set({ ...columns, updated_at: new Date() })
      .where('id', '=', id)
      .returningAll()
      .executeTakeFirstOrThrow();
  });
  await failpoint('network.row-written');
  await applyNetwork(context, changed);
  await failpoint('network.applied');
  return changed;
}

/**
 * Makes the container's network what the row says. Looks again afterwards: of two changes at once, the one that is applied last
 * need not be the one that was written last. Nothing to do where none runs: a start takes the row as it is.
 */
export async function applyNetwork(context: SandboxContext, row: SandboxRow): Promise<void> {
  let wanted = row;
  for (let round = 0; round < MAX_ROUNDS && mayRun(wanted.state); round += 1) {
    const applied = wanted;
    const failure = await context.runtime
      .setNetwork(row.id, policyOf(applied, context.settings.bandwidthMbps))
      .then(() => undefined)
      .catch((error: unknown) => ({ error }));
    const current = await context.db.selectFrom('sandboxes').selectAll().where('id', '=', row.id).executeTakeFirst();
    // It may have ended meanwhile, and then there is no network to change.
    if (current === undefined || !mayRun(current.state)) return;
    if (failure && current.state !== 'started' && isNotRunning(failure.error)) return;
    if (failure) throw failure.error;
    if (isSameNetwork(current, applied)) return;
    wanted = current;
  }
}

/** With a container, also one that does not move; a resize may be of a sandbox that is stopped. */
function mayRun(state: SandboxRow['state']): boolean {
  return ['started', 'resizing', 'pausing', 'paused', 'resuming'].includes(state);
}

function isNotRunning(error: unknown): boolean {
  return error instanceof DarkroomError && error.code === 'conflict';
}
