import { randomUUID } from 'node:crypto';
import { insertSandbox, type NewSandbox } from '../lifecycle/move.ts';
import { conflict, invalidRequest } from '../platform/errors.ts';
import { type CreateRequest, checkCreateRequest } from './create-request.ts';
import { assertUsable, findForCreate } from './find-for-create.ts';
import { answerWithin } from './hold.ts';
import { launch, layerPaths } from './launch.ts';
import { DEFAULT_USER } from './profile.ts';
import { reserveRoom } from './quota.ts';
import { noteSnapshotUse } from './snapshot-use.ts';
import type { Caller, SandboxContext, SandboxRow } from './types.ts';

const DEFAULT_AUTO_STOP_MINUTES = 15;
const DEFAULT_AUTO_ARCHIVE_MINUTES = 7 * 24 * 60;
const AUTO_DELETE_OFF = -1;

/**
 * A started sandbox of an active snapshot. The row is there before anything runs, so that a server that dies leaves nothing
 * unknown; `started` is durable before anyone is told. When the start takes longer than a client may wait, answers with
 * `creating` and goes on.
 */
export async function createSandbox(
  context: SandboxContext,
  caller: Caller,
  request: CreateRequest,
): Promise<SandboxRow> {
  checkCreateRequest(request);
  const reference = request.snapshot || context.settings.defaultSnapshot;
  const { region, snapshot } = await findForCreate(context.db, caller.organizationId, reference);
  assertUsable(snapshot);
  if (request.region !== undefined && request.region !== '' && request.region !== region) {
    throw invalidRequest(`Snapshot ${snapshot.name} is not available in region ${request.region}`);
  }
  await layerPaths(context, snapshot.layers, snapshot.name);
  const id = randomUUID();
  const row = await insert(context, caller, {
    id,
    organization_id: caller.organizationId,
    name: request.name ?? id,
    snapshot_id: snapshot.id,
    snapshot_name: snapshot.name,
    state: 'creating',
    desired_state: 'started',
    user_name: request.user || DEFAULT_USER,
    env: JSON.stringify(request.env ?? {}),
    labels: JSON.stringify(request.labels ?? {}),
    is_public: request.isPublic ?? false,
    region_id: region,
    runner_id: context.settings.runnerId,
    cpu: snapshot.cpu,
    gpu: snapshot.gpu,
    memory: snapshot.mem,
    disk: snapshot.disk,
    auto_stop_interval: request.autoStopInterval ?? DEFAULT_AUTO_STOP_MINUTES,
    auto_archive_interval: request.autoArchiveInterval ?? DEFAULT_AUTO_ARCHIVE_MINUTES,
    auto_delete_interval: request.autoDeleteInterval ?? AUTO_DELETE_OFF,
    network_block_all: request.networkBlockAll ?? false,
    layers: snapshot.layers,
    image: JSON.stringify(snapshot.image),
    entrypoint: snapshot.entrypoint,
  });
  context.background('note the use of a snapshot', noteSnapshotUse(context.db, snapshot));
  return answerWithin(context, row, launch(context, caller, row, 'creating'));
}

/** The row and its share of the quota, in one short transaction that does not wait for the disk: nothing was promised yet. */
async function insert(context: SandboxContext, caller: Caller, values: NewSandbox): Promise<SandboxRow> {
  try {
    return await context.db.transaction().execute(async (trx) => {
      await reserveRoom(trx, caller.organizationId, { ...values, gpu: values.gpu ?? 0 });
      return await insertSandbox(trx, values, {
        actor: caller.actor,
        ownerId: context.settings.instanceId,
        durable: false,
      });
    });
  } catch (cause) {
    if (isNameTaken(cause)) throw conflict(`Sandbox with name ${values.name} already exists`, { cause });
    throw cause;
  }
}

function isNameTaken(error: unknown): boolean {
  return error instanceof Error && 'constraint' in error && error.constraint === 'sandboxes_name';
}
