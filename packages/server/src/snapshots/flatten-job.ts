import { type Kysely, sql } from 'kysely';
import { keepMounted } from '../images/layer-disk.ts';
import { mergeLayers } from '../images/merge-layers.ts';
import type { Layer } from '../images/types.ts';
import type { Database } from '../platform/db/schema.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { JobContext, JobTypes } from '../platform/jobs.ts';
import { bytesOf } from './captured-files.ts';
import type { LayerKeeper } from './layer-keeper.ts';

export interface FlattenJobDeps {
  db: Kysely<Database>;
  layers: LayerKeeper;
}

/** Captured layers on top of each other; each of them is a file system of its own, which a start asks for names. */
const FLATTEN_AT = 6;

/** Whether these layers, base first, are worth being put together. */
export function isDeep(layers: readonly Layer[]): boolean {
  return capturedOnTop(layers).length >= FLATTEN_AT;
}

function capturedOnTop(layers: readonly Layer[]): readonly Layer[] {
  return layers.slice(layers.findLastIndex(({ onDisk }) => onDisk !== true) + 1);
}

/**
 * Puts the captured layers on top of a snapshot together into one plain directory, and gives it to every snapshot that begins with the same layers.
 * So each captured file is copied once, however deep captures of captures get. What runs keeps the layers that it has. Re-entrant.
 */
export async function flattenSnapshot(
  { db, layers }: FlattenJobDeps,
  { snapshotId }: JobTypes['snapshot.flatten'],
  { signal }: Pick<JobContext, 'signal'>,
): Promise<void> {
  using _hold = layers.hold();
  const row = await db
    .selectFrom('snapshots')
    .select('layers')
    .where('id', '=', snapshotId)
    .where('state', '=', 'active')
    .executeTakeFirst();
  if (row?.layers == null) return;
  const found = await Promise.all(row.layers.map((diffId) => layers.get(diffId)));
  const before = found.filter((layer) => layer !== undefined);
  if (before.length < found.length || !isDeep(before)) return;
  const top = capturedOnTop(before);
  const paths = top.map(({ path }) => path);
  // One that is not mounted any more when its turn comes would be missing in the result, and its files with it.
  using mounts = new DisposableStack();
  for (const path of paths) mounts.use(keepMounted(path));
  const merged = await layers.make(async (directory) => {
    await mergeLayers(paths, directory, signal);
    return { sizeBytes: await bytesOf(directory) };
  });
  if (merged === undefined) return;
  await failpoint('flatten.merged');
  await layers.sync();
  await failpoint('flatten.synced');
  const after = [...before.slice(0, before.length - top.length), merged];
  await replaceBeginnings(db, before, after);
  await failpoint('flatten.replaced');
}

async function replaceBeginnings(
  db: Kysely<Database>,
  before: readonly Layer[],
  after: readonly Layer[],
): Promise<void> {
  const ids = (layers: readonly Layer[]) => sql`${layers.map(({ diffId }) => diffId)}::text[]`;
  const count = sql.lit(before.length);
  await sql`
    update snapshots
    set layers = ${ids(after)} || layers[${count} + 1:], size_bytes = size_bytes + ${bytes(after) - bytes(before)}
    where layers @> ${ids(before)} and layers[1:${count}] = ${ids(before)}`.execute(db);
}

const bytes = (layers: readonly Layer[]) => layers.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
