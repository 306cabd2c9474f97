import type { Kysely } from 'kysely';
import { parseReference } from '../images/reference.ts';
import type { CredentialLookup, ImagePuller, PulledImage } from '../images/types.ts';
import { moveSnapshot, type SnapshotRow } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import { DarkroomError, messageOf } from '../platform/errors.ts';
import type { JobContext, JobTypes } from '../platform/jobs.ts';
import { getOrganization } from '../tenancy/organizations.ts';
import type { LayerKeeper } from './layer-keeper.ts';
import type { LayerSweeper } from './layer-sweeper.ts';
import { BYTES_PER_GB } from './types.ts';

const ACTOR = 'job:snapshot.pull';

export interface PullJobDeps {
  db: Kysely<Database>;
  puller: ImagePuller;
  layers: LayerKeeper;
  sweeper: Pick<LayerSweeper, 'makeRoom'>;
  credentialsFor(organizationId: string): CredentialLookup;
  /** This server process: the owner of the snapshots that it pulls. */
  instanceId: string;
  log: { error(details: object, message: string): void };
}

/**
 * Takes a snapshot from `pending` through `pulling` to `active` or `error`. Re-entrant: what another run of the job, a
 * delete or a deadline has changed since is left alone.
 */
export async function pullSnapshot(
  deps: PullJobDeps,
  { snapshotId }: JobTypes['snapshot.pull'],
  context: JobContext,
): Promise<void> {
  const row = await takeUp(deps, snapshotId);
  if (row === undefined) return;
  // Layers that the pull finds or adds stay until the row that needs them is written.
  using _hold = deps.layers.hold();
  try {
    await finish(deps, row, await pull(deps, row, context.signal));
  } catch (error) {
    await settle(deps, row, error, context);
  }
}

async function takeUp(deps: PullJobDeps, id: string): Promise<SnapshotRow | undefined> {
  const { instanceId: ownerId } = deps;
  const moved = await moveSnapshot(deps.db, id, { from: ['pending'], to: 'pulling', actor: ACTOR, ownerId });
  if (moved !== undefined) return moved;
  // An earlier attempt of this job, by this process, left it where it is.
  return deps.db
    .selectFrom('snapshots')
    .selectAll()
    .where('id', '=', id)
    .where('state', '=', 'pulling')
    .where('owner_id', '=', ownerId)
    .executeTakeFirst();
}

async function pull(deps: PullJobDeps, row: SnapshotRow, signal: AbortSignal): Promise<PulledImage> {
  // `ref` is there when it was active before: activation brings back that very image, wherever its tag points today.
  const name = row.ref ?? row.image_name;
  if (name === null) throw new DarkroomError('internal', `snapshot ${row.id} has neither an image name nor a digest`);
  const organization = await getOrganization(deps.db, row.organization_id);
  return deps.puller.pull(parseReference(name), {
    credentials: deps.credentialsFor(row.organization_id),
    signal,
    maxBytes: Math.floor(organization.max_snapshot_size_gb * BYTES_PER_GB),
  });
}

async function finish(deps: PullJobDeps, row: SnapshotRow, image: PulledImage): Promise<void> {
  await moveSnapshot(deps.db, row.id, {
    from: ['pulling'],
    to: 'active',
    actor: ACTOR,
    set: {
      layers: image.layers,
      image: JSON.stringify(image.config),
      size_bytes: image.sizeBytes,
      ref: image.resolved,
      entrypoint: row.entrypoint ?? entrypointOf(image),
      last_used_at: new Date(),
    },
  });
}

/** The image's own; its default arguments stay in the image config. */
function entrypointOf({ config }: PulledImage): string[] | null {
  return config.entrypoint.length > 0 ? config.entrypoint : null;
}

/** After a failure: another attempt where that can help, else `error` with a reason that a person can act on. */
async function settle(deps: PullJobDeps, row: SnapshotRow, error: unknown, context: JobContext): Promise<void> {
  const failure = asDarkroomError(error);
  const draining = context.signal.aborted && failure.code === 'unavailable';
  if (draining && context.isLastAttempt) {
    // The server stops; nothing is wrong with the image. The next start enqueues what is pending.
    await moveSnapshot(deps.db, row.id, { from: ['pulling'], to: 'pending', actor: ACTOR });
    return;
  }
  if (!context.isLastAttempt && (draining || failure.retryable || (await madeRoom(deps, failure)))) {
    throw new DarkroomError(failure.code, failure.message, { retryable: true, cause: failure });
  }
  if (!failure.isUserError) deps.log.error({ err: error, snapshotId: row.id }, 'the pull of a snapshot failed');
  await moveSnapshot(deps.db, row.id, {
    from: ['pulling'],
    to: 'error',
    actor: ACTOR,
    reason: reasonOf(failure),
    errorCode: failure.code,
  });
}

/** A full disk may be full of layers that nothing needs. */
async function madeRoom(deps: PullJobDeps, failure: DarkroomError): Promise<boolean> {
  return failure.code === 'insufficient_storage' && (await deps.sweeper.makeRoom()) > 0;
}

function asDarkroomError(error: unknown): DarkroomError {
  if (error instanceof DarkroomError) return error;
  return new DarkroomError('internal', `the image could not be pulled: ${messageOf(error)}`, { cause: error });
}

function reasonOf(failure: DarkroomError): string {
  if (!failure.isUserError)
    return 'The server failed while it pulled the image. Its log says why; create the snapshot again.';
  return failure.hint === undefined ? failure.message : `${failure.message} ${failure.hint}`;
}
