import { randomUUID } from 'node:crypto';
import { insertSandbox, type NewSandbox } from '../lifecycle/move.ts';
import { DarkroomError, invalidRequest } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { activateFor } from '../snapshots/activate.ts';
import { createBuiltSandbox } from './create-built.ts';
import { type CreateRequest, checkCreateRequest } from './create-request.ts';
import { assertUsable, findForCreate } from './find-for-create.ts';
import { answerWithin } from './hold.ts';
import { assertLayers, finishLaunch, runContainer } from './launch.ts';
import { nameTaken, requestedColumns, withFreeName } from './new-row.ts';
import { assertRoom, reserveRoom } from './quota.ts';
import { withClass } from './sandbox-class.ts';
import { noteSnapshotUse } from './snapshot-use.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

/**
 * A started sandbox of an active snapshot. The row is written while the container starts; a server that dies in between
 * leaves a container that nobody knows, and the next one removes it. `started` is durable before anyone is told. When the
 * start takes longer than a client may wait, answers with `creating` and goes on.
 */
export async function createSandbox(
  context: SandboxContext,
  caller: Caller,
  request: CreateRequest,
): Promise<SandboxRow> {
  checkCreateRequest(request);
  if (request.build !== undefined) return createBuiltSandbox(context, caller, request, request.build);
  // The snapshot may be deleted meanwhile: its layers stay until the row names them.
  using _hold = context.layers.hold();
  const reference = request.snapshot || context.settings.defaultSnapshot;
  const found = await findActivated(context, caller, reference, request.name);
  const { region, snapshot } = found;
  assertUsable(snapshot);
  if (request.region !== undefined && request.region !== '' && request.region !== region) {
    throw invalidRequest(`Snapshot ${snapshot.name} is not available in region ${request.region}`);
  }
  const id = randomUUID();
  const name = request.name ?? id;
  // The insert decides; asked here too, so that a client that tries again and again starts no containers.
  if (found.isNameTaken) throw nameTaken(name);
  const { cpu, gpu, mem: memory, disk } = snapshot;
  assertRoom(found.quota, found.used, { cpu, gpu, memory, disk });
  const common = {
    ...requestedColumns(context, caller, request),
    id,
    snapshot_name: snapshot.name,
    layers: snapshot.layers,
    cpu,
    memory,
    disk,
  };
  const image = withClass(snapshot.image, snapshot.sandbox_class);
  await assertLayers(context, common);
  const running = runContainer(context, { ...common, env: { ...request.env }, image }, 'creating');
  // Whoever waits for it tells of its failure; nobody does when the insert fails.
  running.catch(() => {});
  const inserted = insert(context, caller, {
    ...common,
    name,
    snapshot_id: snapshot.id,
    state: 'creating',
    region_id: region,
    gpu,
    image: JSON.stringify(image),
    entrypoint: snapshot.entrypoint,
  });
  const row = await inserted.catch((error: unknown) => {
    const gone = running.catch(() => {}).then(() => context.runtime.remove(id));
    context.background(`remove sandbox ${id}, which was refused`, gone);
    throw error;
  });
  await failpoint('start.row-written');
  context.background('note the use of a snapshot', noteSnapshotUse(context.db, snapshot));
  return answerWithin(context, row, finishLaunch(context, caller, row, 'creating', running));
}

/** Activates an inactive snapshot first, where the organization wants that. When it must be pulled, its state is told as it is then. */
async function findActivated(context: SandboxContext, caller: Caller, reference: string, name: string | undefined) {
  const find = () => findForCreate(context.db, caller.organizationId, reference, name);
  const found = await find();
  if (found.snapshot.state !== 'inactive' || !found.activatesOnUse) return found;
  try {
    await activateFor(context, caller, found.snapshot.id);
  } catch (error) {
    // A general one is not ours to activate; another request may have been quicker.
    const now = await find();
    const isOthers = error instanceof DarkroomError && error.code === 'not_found';
    if (now.snapshot.state === 'inactive' && !isOthers) throw error;
    return now;
  }
  return find();
}

/** The row and its share of the quota, in one short transaction that does not wait for the disk: nothing was promised yet. */
function insert(context: SandboxContext, caller: Caller, values: NewSandbox): Promise<SandboxRow> {
  return withFreeName(values.name, () =>
    context.db.transaction().execute(async (trx) => {
      await reserveRoom(trx, caller.organizationId, { ...values, gpu: values.gpu ?? 0 });
      return await insertSandbox(trx, values, {
        actor: caller.actor,
        ownerId: context.settings.instanceId,
        durable: false,
      });
    }),
  );
}
