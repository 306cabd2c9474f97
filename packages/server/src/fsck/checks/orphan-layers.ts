import { dirname } from 'node:path';
import { type Kysely, sql } from 'kysely';
import { readLayerRecord } from '../../images/layer-record.ts';
import type { Layer } from '../../images/types.ts';
import type { Database } from '../../platform/db/schema.ts';
import { shortLayer } from '../layer-users.ts';
import type { Check, Finding, Scene } from '../types.ts';
import { presentLayers } from './missing-layers.ts';

/**
 * Layers that no row names at all. Garbage collection takes them by itself, so that only those are found that it should have taken long ago; without a server also
 * those that have been there for long and that it has not come to, because a row was taken away in another way than by Darkroom.
 */
export const orphanLayers: Check = {
  name: 'orphan-layers',
  title: 'layers that nothing names',
  async *find(scene) {
    // The layers first: one comes before the row that names it.
    const present = [...(await presentLayers(scene))];
    const named = await namedLayers(scene.db, present);
    const marks = await readMarks(scene);
    const layers = new Map((await scene.store.list()).map((layer) => [layer.diffId, layer]));
    for (const diffId of present) {
      const layer = layers.get(diffId);
      if (layer === undefined || named.has(diffId) || scene.layers.isHeld(diffId)) continue;
      if (!(await isOverdue(scene, layer, marks.get(diffId)))) continue;
      yield {
        kind: 'layer-orphan',
        id: diffId,
        where: dirname(layer.path),
        problem: `no row names layer ${shortLayer(diffId)}`,
        repair: { does: 'remove it', run: () => remove(scene, diffId) },
      } satisfies Finding;
    }
  },
};

async function namedLayers(db: Kysely<Database>, among: readonly string[]): Promise<ReadonlySet<string>> {
  const { rows } = await sql<{ layer: string }>`
    select layer from unnest(${[...among]}::text[]) as layer
    where exists (select from snapshots where layers @> array[layer])
      or exists (select from sandboxes where layers @> array[layer] and state <> 'destroyed')
      or exists (select from build_cache c where c.layer = layer.layer)
      or exists (select from base_images where layer.layer = any(layers))`.execute(db);
  return new Set(rows.map(({ layer }) => layer));
}

/** Since when garbage collection knows that nothing needs them. */
async function readMarks({ db, runnerId }: Scene): Promise<ReadonlyMap<string, Date>> {
  const { rows } = await sql<{ id: string; at: Date }>`
    select id, marked_at as at from garbage_marks where runner_id = ${runnerId} and kind = 'layer'`.execute(db);
  return new Map(rows.map(({ id, at }) => [id, at]));
}

async function isOverdue({ offline, graceMs }: Scene, { path }: Layer, marked: Date | undefined): Promise<boolean> {
  if (marked !== undefined) return marked.getTime() < Date.now() - graceMs;
  if (!offline) return false;
  const record = await readLayerRecord(dirname(path));
  return record !== undefined && Date.parse(record.createdAt) < Date.now() - graceMs;
}

async function remove({ db, layers }: Scene, diffId: string): Promise<string | undefined> {
  const gone = await layers.sweep(async (stored) => {
    const isThere = stored.some((layer) => layer.diffId === diffId);
    return new Set(isThere && (await namedLayers(db, [diffId])).size === 0 ? [diffId] : []);
  });
  return gone.length === 0 ? undefined : 'removed';
}
