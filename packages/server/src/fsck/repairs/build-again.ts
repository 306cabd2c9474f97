import { randomUUID } from 'node:crypto';
import { type BuildRequest, type BuildRow, findBuild, insertBuild } from '../../builds/records.ts';
import { moveSnapshot } from '../../lifecycle/move.ts';
import { FSCK } from '../actor.ts';
import type { Scene } from '../types.ts';

/** Secrets are gone with the end of a build, so a build with them would give something else. */
const SECRET = /type=secret/i;

/** The definition that a snapshot was built by, if all that it needs is still here. */
export async function findDefinition(
  { db, contexts }: Pick<Scene, 'db' | 'contexts'>,
  buildId: string | null,
): Promise<BuildRow | undefined> {
  const row = buildId === null ? undefined : await findBuild(db, buildId);
  if (row === undefined || SECRET.test(row.dockerfile)) return undefined;
  for (const hash of row.context_hashes) {
    if ((await contexts.find({ organizationId: row.organization_id, hash })) === undefined) return undefined;
  }
  return row;
}

/** Gives the snapshot a new build by its old definition; the server builds it, this one or the next. False when that is no longer asked for. */
export async function buildAgain(scene: Scene, snapshotId: string, reason: string): Promise<boolean> {
  const { db, jobs, secrets } = scene;
  return db.transaction().execute(async (trx) => {
    const row = await trx
      .selectFrom('snapshots')
      .select(['state', 'build_id', 'organization_id'])
      .where('id', '=', snapshotId)
      .forUpdate()
      .executeTakeFirst();
    const definition = await findDefinition(scene, row?.build_id ?? null);
    if (row === undefined || definition === undefined) return false;
    const id = randomUUID();
    const moved = await moveSnapshot(trx, snapshotId, {
      from: ['active', 'inactive'],
      to: 'building',
      actor: FSCK,
      reason,
      set: { build_id: id },
    });
    if (moved === undefined) return false;
    const request = requestOf(definition);
    await insertBuild(trx, secrets, { id, organizationId: row.organization_id, subject: { snapshotId }, request });
    await jobs.enqueue(trx, 'snapshot.build', id, { buildId: id });
    return true;
  });
}

function requestOf({ dockerfile, context_hashes: contextHashes, options }: BuildRow): BuildRequest {
  const { target, buildArgs = {}, cacheMaxAgeSeconds }: Partial<BuildRequest> = options;
  // What was asked for once, a build without the cache, is not asked for again.
  return { dockerfile, contextHashes, target, buildArgs, secrets: {}, noCache: false, cacheMaxAgeSeconds };
}
