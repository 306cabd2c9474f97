import { existsSync } from 'node:fs';
import { namesOf, readLayerUsers, shortLayer } from '../layer-users.ts';
import { repairLayer } from '../repairs/repair-layer.ts';
import type { Check, Finding, Scene } from '../types.ts';

export const missingLayers: Check = {
  name: 'missing-layers',
  title: 'layers that snapshots and sandboxes name',
  async *find(scene) {
    // The rows first: a layer comes before the row that names it.
    const users = await readLayerUsers(scene);
    const present = await presentLayers(scene);
    for (const [diffId, by] of users) {
      if (present.has(diffId)) continue;
      yield {
        kind: 'layer-missing',
        id: diffId,
        where: namesOf(by),
        problem: `layer ${shortLayer(diffId)} is not on this machine`,
        repair: await repairLayer(scene, { diffId, users: by, how: 'missing', why: 'its files are gone' }),
      } satisfies Finding;
    }
  },
};

/** By id, those whose directories are really there. */
export async function presentLayers({ store }: Pick<Scene, 'store'>): Promise<ReadonlySet<string>> {
  const layers = await store.list();
  return new Set(layers.filter(({ path }) => existsSync(path)).map(({ diffId }) => diffId));
}
