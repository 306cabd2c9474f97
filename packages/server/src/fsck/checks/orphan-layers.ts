import { type Kysely, sql } from 'kysely';
import type { Database } from '../../platform/db/schema.ts';
import { shortLayer } from '../layer-users.ts';
import type { Check, Finding, Scene } from '../types.ts';
import { presentLayers } from './missing-layers.ts';

/**
 * Layers that no row names at all. Where a server runs its garbage collection takes them after a grace, so that only those are found that it should have
 * taken long ago.
 */
export const orphanLayers: Check = {
  name: 'orphan-layers',
  title: 'layers that nothing names',
  async *find(scene) {
    // The layers first: one comes before the row that names it.
    const present = [...(await presentLayers(scene))];
    const named = await namedLayers(scene.db, present);
    const overdue = await overdueLayers(scene);
    const sizes = new Map((await scene.store.list()).map(({ diffId, path }) => [diffId, path]));
    for (const diffId of present) {
      if (named.has(diffId) || scene.layers.isHeld(diffId) || !(scene.offline || overdue.has(diffId))) continue;
      yield {
        kind: 'layer-orphan',
        id: diffId,
        where: sizes.get(diffId) ?? scene.store.root,
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

/** What garbage collection has seen to be unneeded for longer than any grace. */
async function overdueLayers({ db, runnerId, graceMs }: Scene): Promise<ReadonlySet<string>> {
  const { rows } = await sql<{ id: string }>`
    select id from garbage_marks where runner_id = ${runnerId} and kind = 'layer'
      and marked_at < now() - make_interval(secs => ${graceMs / 1000})`.execute(db);
  return new Set(rows.map(({ id }) => id));
}

async function remove({ db, layers }: Scene, diffId: string): Promise<string | undefined> {
  const gone = await layers.sweep(async (stored) => {
    const isThere = stored.some((layer) => layer.diffId === diffId);
    return new Set(isThere && (await namedLayers(db, [diffId])).size === 0 ? [diffId] : []);
  });
  return gone.length === 0 ? undefined : 'removed';
}
