import { type Kysely, sql } from 'kysely';
import { parseReference } from '../images/reference.ts';
import type { CredentialLookup, ImagePuller, PulledImage } from '../images/types.ts';
import { moveSnapshot, type SnapshotRow } from '../lifecycle/move.ts';
import { SNAPSHOT_TABLE } from '../lifecycle/tables.ts';
import { persistently } from '../platform/db/persistently.ts';
import { databaseProblem } from '../platform/db/problems.ts';
import type { Database } from '../platform/db/schema.ts';
import { DarkroomError, messageOf, withHint } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
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
  /** The machine that their layers are on then. */
  runnerId: string;
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
  const deadline = AbortSignal.timeout(await msToDeadline(deps.db, snapshotId));
  // Layers that the pull finds or adds stay until the row that needs them is written.
  using _hold = deps.layers.hold();
  try {
    await failpoint('pull.taken-up');
    const image = await pull(deps, row, AbortSignal.any([context.signal, deadline]));
    await failpoint('pull.layers-ready');
    // What was fetched is not thrown away for a moment without the database.
    await persistently(() => finish(deps, row, image), context.signal);
    await failpoint('pull.active');
  } catch (error) {
    await settle(deps, row, deadline.aborted ? pulledTooLong(error) : error, context);
  }
}

/** The row in `pulling`, owned by this process; undefined when there is nothing left to do. */
async function takeUp(deps: PullJobDeps, id: string): Promise<SnapshotRow | undefined> {
  const { db, instanceId: ownerId } = deps;
  const row = await db.selectFrom('snapshots').selectAll().where('id', '=', id).executeTakeFirst();
  // An earlier attempt of this job, by this process: it goes on, and the deadline with it.
  if (row?.state === 'pulling' && row.owner_id === ownerId) return row;
  // The queue runs one job of a snapshot at a time, so another owner is one that died.
  if (row?.state === 'pulling') {
    const reason = 'The server that pulled the image ended';
    await moveSnapshot(db, id, { from: ['pulling'], to: 'pending', actor: ACTOR, reason });
  }
  return moveSnapshot(db, id, { from: ['pending'], to: 'pulling', actor: ACTOR, ownerId });
}

/** By the database's clock, which wrote it; this machine's may differ. */
async function msToDeadline(db: Kysely<Database>, id: string): Promise<number> {
  const { rows } = await sql<{ ms: number | null }>`
    select extract(epoch from deadline_at - clock_timestamp())::float8 * 1000 as ms from snapshots where id = ${id}`.execute(
    db,
  );
  return Math.max(0, Math.round(rows[0]?.ms ?? 0));
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
    heldBy: deps.instanceId,
    set: {
      runner_id: deps.runnerId,
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
  // The server stops and nothing is wrong with the image: the queue hands the job out again after the start.
  if (isDraining(context.signal)) throw failure;
  if (!context.isLastAttempt && (failure.retryable || (await madeRoom(deps, failure)))) {
    throw new DarkroomError(failure.code, failure.message, { retryable: true, cause: failure });
  }
  if (!failure.isUserError) deps.log.error({ err: error, snapshotId: row.id }, 'the pull of a snapshot failed');
  await moveSnapshot(deps.db, row.id, {
    from: ['pulling'],
    to: 'error',
    actor: ACTOR,
    heldBy: deps.instanceId,
    reason: reasonOf(failure),
    errorCode: failure.code,
  });
}

function isDraining(signal: AbortSignal): boolean {
  return signal.aborted && signal.reason instanceof DarkroomError && signal.reason.code === 'unavailable';
}

function pulledTooLong(cause: unknown): DarkroomError {
  return new DarkroomError('timeout', SNAPSHOT_TABLE.pulling.timeoutReason, { cause });
}

/** A full disk may be full of layers that nothing needs. */
async function madeRoom(deps: PullJobDeps, failure: DarkroomError): Promise<boolean> {
  return failure.code === 'insufficient_storage' && (await deps.sweeper.makeRoom()) > 0;
}

function asDarkroomError(error: unknown): DarkroomError {
  if (error instanceof DarkroomError && error.isUserError) return error;
  // The database may have been away for a moment while credentials were read or the end was written down.
  const problem = databaseProblem(error) ?? (error instanceof DarkroomError ? databaseProblem(error.cause) : undefined);
  if (problem !== undefined) return problem;
  if (error instanceof DarkroomError) return error;
  return new DarkroomError('internal', `the image could not be pulled: ${messageOf(error)}`, { cause: error });
}

function reasonOf(failure: DarkroomError): string {
  if (!failure.isUserError)
    return 'The server failed while it pulled the image. Its log says why; create the snapshot again.';
  return withHint(failure);
}
