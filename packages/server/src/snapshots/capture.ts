import type { Kysely, Transaction } from 'kysely';
import { insertSnapshot, moveSnapshot, type SandboxRow, type SnapshotRow } from '../lifecycle/move.ts';
import { settle } from '../lifecycle/settle.ts';
import { databaseProblem } from '../platform/db/problems.ts';
import type { Database } from '../platform/db/schema.ts';
import { isUniqueViolation } from '../platform/db/violations.ts';
import { conflict, DarkroomError, messageOf, withHint } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { JobQueue } from '../platform/jobs.ts';
import type { SandboxRuntime } from '../runtime/types.ts';
import { assertNotSuspended, getOrganization } from '../tenancy/organizations.ts';
import { capturedImage, capturedLayer } from './captured-files.ts';
import { checkSnapshotName } from './check-names.ts';
import { isDeep } from './flatten-job.ts';
import type { LayerKeeper } from './layer-keeper.ts';
import { mountedLayers } from './mounted-layers.ts';
import { claimQuota } from './quota.ts';
import { BYTES_PER_GB } from './types.ts';

export interface CaptureDeps {
  db: Kysely<Database>;
  runtime: Pick<SandboxRuntime, 'capture'>;
  jobs: Pick<JobQueue, 'enqueue'>;
  layers: Pick<LayerKeeper, 'get' | 'make' | 'makeFromDisk' | 'sync' | 'hold'>;
  /** This server process: the owner of what it captures. */
  instanceId: string;
  log: {
    info(details: object, message: string): void;
    error(details: object, message: string): void;
  };
}

/** Who wants it, as events name them. */
type Actor = { actor: string };

/**
 * The row of a snapshot of this sandbox, in `snapshotting`. Its name and the organization's room for it are settled before anything
 * is done to the sandbox. `finishCapture` does the rest.
 */
export async function beginCapture(
  { db, instanceId }: Pick<CaptureDeps, 'db' | 'instanceId'>,
  { actor }: Actor,
  source: SandboxRow,
  name: string,
): Promise<SnapshotRow> {
  checkSnapshotName(name);
  assertNotSuspended(await getOrganization(db, source.organization_id));
  try {
    return await db.transaction().execute(async (trx) => {
      await claimQuota(trx, source.organization_id);
      const values = {
        organization_id: source.organization_id,
        name,
        state: 'snapshotting' as const,
        entrypoint: source.entrypoint,
        cpu: source.cpu,
        gpu: source.gpu,
        mem: source.memory,
        disk: source.disk,
        region_id: source.region_id,
        sandbox_class: 'sandboxClass' in source.image ? String(source.image.sandboxClass) : 'container',
        runner_id: source.runner_id,
        source_sandbox_id: source.id,
        parent_snapshot_id: source.snapshot_id,
        // Needed from now on, whatever becomes of the sandbox.
        layers: source.layers,
      };
      return await insertSnapshot(trx, values, { actor, ownerId: instanceId });
    });
  } catch (error) {
    if (!isUniqueViolation(error, 'snapshots_name')) throw error;
    throw conflict(`Snapshot with name "${name}" already exists for this organization`, { cause: error });
  }
}

/** Copies the sandbox's files, and makes the snapshot `active`; or `error`, with a reason, and raises. The sandbox goes on as it was. */
export async function finishCapture(
  deps: CaptureDeps,
  { actor }: Actor,
  source: SandboxRow,
  row: SnapshotRow,
): Promise<SnapshotRow> {
  // The new layer stays until the row names it.
  using _hold = deps.layers.hold();
  try {
    const { layers, sizeBytes, addedBytes, pausedMs, deep } = await capturedLayers(deps, source);
    await checkSize(deps.db, source.organization_id, sizeBytes);
    const toActive = async (trx: Transaction<Database>) => {
      if (deep) await deps.jobs.enqueue(trx, 'snapshot.flatten', row.id, { snapshotId: row.id });
      return moveSnapshot(trx, row.id, {
        from: ['snapshotting'],
        to: 'active',
        actor,
        heldBy: deps.instanceId,
        set: {
          layers,
          image: JSON.stringify(capturedImage(source)),
          size_bytes: sizeBytes,
          added_bytes: addedBytes,
          last_used_at: new Date(),
        },
      });
    };
    const active = await settle(
      'active',
      () => deps.db.transaction().execute(toActive),
      () => readRow(deps.db, row.id),
    );
    if (active === undefined) {
      throw conflict(`Snapshot ${row.name} was deleted, or took too long, while it was captured`);
    }
    await failpoint('capture.active');
    deps.log.info({ snapshotId: row.id, sandboxId: source.id, pausedMs, addedBytes }, 'a sandbox was captured');
    return active;
  } catch (error) {
    const failure = failureOf(error);
    if (!failure.isUserError) deps.log.error({ err: error, snapshotId: row.id }, 'the capture of a sandbox failed');
    const toError = () =>
      moveSnapshot(deps.db, row.id, {
        from: ['snapshotting'],
        to: 'error',
        actor,
        heldBy: deps.instanceId,
        reason: withHint(failure),
        errorCode: failure.code,
      });
    await settle('error', toError, () => readRow(deps.db, row.id));
    throw failure;
  }
}

const readRow = (db: Kysely<Database>, id: string): Promise<SnapshotRow | undefined> =>
  db.selectFrom('snapshots').selectAll().where('id', '=', id).executeTakeFirst();

async function capturedLayers({ runtime, layers }: CaptureDeps, source: SandboxRow) {
  // The root of the topmost is looked at when the copy is there, which may take long.
  using mounted = await mountedLayers(layers, source.layers, `sandbox ${source.name}`);
  const below = mounted.layers;
  const files = await runtime.capture(source.id);
  try {
    await failpoint('capture.copied');
    const top = await capturedLayer(layers, files, below.at(-1));
    await failpoint('capture.layer-published');
    const all = top === undefined ? below : [...below, top];
    const sizeBytes = all.reduce((total, layer) => total + layer.sizeBytes, 0);
    const { pausedMs } = files;
    const addedBytes = top?.sizeBytes ?? 0;
    return { layers: all.map(({ diffId }) => diffId), sizeBytes, addedBytes, pausedMs, deep: isDeep(all) };
  } finally {
    await files.release();
  }
}

async function checkSize(db: Kysely<Database>, organizationId: string, sizeBytes: number): Promise<void> {
  const { max_snapshot_size_gb: max } = await getOrganization(db, organizationId);
  if (sizeBytes <= max * BYTES_PER_GB) return;
  const size = (sizeBytes / BYTES_PER_GB).toFixed(2);
  throw new DarkroomError(
    'quota_exceeded',
    `The snapshot would have ${size} GB, and ${max} GB is the most that this organization's may have`,
    { hint: 'Delete files in the sandbox that the snapshot does not need.' },
  );
}

function failureOf(error: unknown): DarkroomError {
  const problem = databaseProblem(error);
  if (problem !== undefined) return problem;
  if (error instanceof DarkroomError && error.isUserError) return error;
  return new DarkroomError('unavailable', `The sandbox could not be captured: ${messageOf(error)}`, {
    cause: error,
    retryable: true,
  });
}
