import { randomUUID } from 'node:crypto';
import { type BuildRequest, insertBuild, snapshotRefOf } from '../builds/records.ts';
import { insertSandbox, type NewSandbox } from '../lifecycle/move.ts';
import { DEFAULT_RESOURCES } from '../snapshots/check-resources.ts';
import { assertNotSuspended, getOrganization } from '../tenancy/organizations.ts';
import { resolveRegion } from '../tenancy/regions.ts';
import type { CreateRequest } from './create-request.ts';
import { requestedColumns, withFreeName } from './new-row.ts';
import { reserveRoom } from './quota.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

/** Until the build has made it: nothing can be started from this. */
const NO_IMAGE = JSON.stringify({ env: [], entrypoint: [], cmd: [], workingDir: '', user: '' });

/** A sandbox whose image is built first. Answers at once with `pending_build`, which is how clients know that there is a log to read. */
export async function createBuiltSandbox(
  context: SandboxContext,
  caller: Caller,
  request: CreateRequest,
  build: BuildRequest,
): Promise<SandboxRow> {
  context.builds.check(build);
  const organization = await getOrganization(context.db, caller.organizationId);
  const region = resolveRegion(request.region || undefined, organization.default_region);
  assertNotSuspended(organization);
  await context.builds.checkContexts(organization.id, build.contextHashes);
  const { cpu, gpu, memory, disk } = request.resources;
  const size = {
    cpu: cpu ?? DEFAULT_RESOURCES.cpu,
    gpu: gpu ?? DEFAULT_RESOURCES.gpu,
    memory: memory ?? DEFAULT_RESOURCES.memory,
    disk: disk ?? DEFAULT_RESOURCES.disk,
  };
  const id = randomUUID();
  const buildId = randomUUID();
  const values: NewSandbox = {
    ...requestedColumns(context, caller, request),
    ...size,
    id,
    name: request.name ?? id,
    snapshot_id: null,
    // What it is made from has no name of its own.
    snapshot_name: snapshotRefOf(build),
    state: 'pending_build',
    region_id: region,
    layers: [],
    image: NO_IMAGE,
    entrypoint: null,
    build_id: buildId,
  };
  const { row, made } = await withFreeName(values.name, () =>
    context.db.transaction().execute(async (trx) => {
      await reserveRoom(trx, organization.id, size);
      const inserted = await insertSandbox(trx, values, { actor: caller.actor });
      const subject = { sandboxId: id };
      const made = await insertBuild(trx, context.secrets, {
        id: buildId,
        organizationId: organization.id,
        subject,
        request: build,
      });
      await context.jobs.enqueue(trx, 'snapshot.build', buildId, { buildId });
      return { row: inserted, made };
    }),
  );
  context.builds.begin(made);
  return row;
}
