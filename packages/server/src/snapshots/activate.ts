import type { Kysely } from 'kysely';
import { moveSnapshot, type SnapshotRow } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { conflict, invalidRequest } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { JobQueue } from '../platform/jobs.ts';
import { type AuthContext, actorOf } from '../tenancy/auth-context.ts';
import { assertNotSuspended, getOrganization } from '../tenancy/organizations.ts';
import { resolveRegion } from '../tenancy/regions.ts';
import { checkResources } from './check-resources.ts';
import { getOwnSnapshot } from './find.ts';
import type { LayerKeeper } from './layer-keeper.ts';
import { claimQuota } from './quota.ts';

export interface ActivateDeps {
  db: Kysely<Database>;
  jobs: JobQueue;
  layers: Pick<LayerKeeper, 'hold' | 'hasAll'>;
}

/** Brings a deactivated snapshot back: at once when its layers are still here, else by a pull of the very same image. */
export function activateSnapshot(deps: ActivateDeps, auth: AuthContext, idOrName: string): Promise<SnapshotRow> {
  return activateFor(deps, { organizationId: auth.organizationId, actor: actorOf(auth) }, idOrName);
}

export async function activateFor(
  deps: ActivateDeps,
  { organizationId, actor }: { organizationId: string; actor: string },
  idOrName: string,
): Promise<SnapshotRow> {
  const row = await getOwnSnapshot(deps.db, organizationId, idOrName);
  assertInactive(row);
  const organization = await getOrganization(deps.db, organizationId);
  assertNotSuspended(organization);
  resolveRegion(row.region_id, organization.default_region);
  checkResources({ cpu: row.cpu, gpu: row.gpu, memory: row.mem, disk: row.disk }, organization);
  // From here until the row says `active`, no sweep takes the layers that are found.
  using _hold = deps.layers.hold();
  const complete = row.layers !== null && (await deps.layers.hasAll(row.layers));
  if (!complete && row.source_sandbox_id !== null) {
    throw conflict(`The files of snapshot ${row.name} are gone; they were captured from a sandbox`, {
      hint: 'Delete it, and capture it again if its sandbox is still there.',
    });
  }
  if (!complete && row.build_id !== null) {
    throw conflict(`The files of snapshot ${row.name} are gone, and only a build can make them again`, {
      hint: 'Delete it and create it again.',
    });
  }
  await failpoint('activate.layers-found');
  const activated = await deps.db.transaction().execute(async (trx) => {
    await claimQuota(trx, organizationId);
    const change = { from: ['inactive'] as const, actor };
    const moved = complete
      ? await moveSnapshot(trx, row.id, { ...change, to: 'active', set: { last_used_at: new Date() } })
      : await moveSnapshot(trx, row.id, { ...change, to: 'pending' });
    if (moved === undefined) throw conflict(`Snapshot ${row.id} was changed at the same time. Look at it again`);
    if (!complete) await deps.jobs.enqueue(trx, 'snapshot.pull', row.id, { snapshotId: row.id });
    return moved;
  });
  await failpoint('activate.written');
  return activated;
}

function assertInactive({ id, state }: SnapshotRow): void {
  if (state === 'inactive') return;
  if (state === 'active') throw invalidRequest(`Snapshot ${id} is already active`);
  throw invalidRequest(`Snapshot ${id} cannot be activated - it is in ${state} state`);
}
