import { sql } from 'kysely';
import { shortLayer } from '../layer-users.ts';
import type { Check, Finding, Scene } from '../types.ts';
import { presentLayers } from './missing-layers.ts';

/** What the build cache remembers of layers that are gone, or damaged and of no other use. Forgotten, it costs a step or a request of the next build. */
export const cacheRows: Check = {
  name: 'cache-rows',
  title: 'results of builds',
  async *find(scene) {
    const { rows } = await sql<{ table: 'build_cache' | 'base_images'; layer: string; count: number }>`
      select 'build_cache' as table, layer, count(*) from build_cache
        where layer is not null and runner_id = ${scene.runnerId} group by layer
      union all
      select 'base_images', layer, count(*) from base_images, unnest(layers) as layer
        where runner_id = ${scene.runnerId} group by layer`.execute(scene.db);
    const present = await presentLayers(scene);
    for (const { table, layer, count } of rows) {
      const isDamaged = scene.health.isDamaged(layer);
      if (present.has(layer) && !isDamaged) continue;
      const state = present.has(layer) ? 'damaged' : 'not on this machine';
      yield {
        kind: 'cache-layer',
        id: layer,
        where: table,
        problem: `${count} remembered ${count === 1 ? 'result has' : 'results have'} layer ${shortLayer(layer)}, which is ${state}`,
        repair: { does: 'forget them', run: () => forget(scene, table, layer) },
      } satisfies Finding;
    }
  },
};

async function forget(scene: Scene, table: 'build_cache' | 'base_images', layer: string): Promise<string | undefined> {
  // A build may have made it again meanwhile.
  if ((await presentLayers(scene)).has(layer) && !scene.health.isDamaged(layer)) return undefined;
  const names = table === 'build_cache' ? sql`layer = ${layer}` : sql`${layer} = any(layers)`;
  const { numAffectedRows = 0n } = await sql`
    delete from ${sql.table(table)} where runner_id = ${scene.runnerId} and ${names}`.execute(scene.db);
  return numAffectedRows === 0n ? undefined : `${numAffectedRows} forgotten`;
}
