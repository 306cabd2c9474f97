import { dirname } from 'node:path';
import { isLayerThere } from '../../images/layer-disk.ts';
import {
  groupsOf,
  hasOtherMachines,
  isBuilt,
  isBusy,
  type LayerUser,
  namesOf,
  readLayerUsers,
  shortLayer,
} from '../layer-users.ts';
import { repairLayer } from '../repairs/repair-layer.ts';
import type { Check, Finding, Scene } from '../types.ts';

export const missingLayers: Check = {
  name: 'missing-layers',
  title: 'layers that snapshots and sandboxes name',
  async *find(scene) {
    // The rows first: a layer comes before the row that names it.
    const users = await readLayerUsers(scene);
    const present = await presentLayers(scene);
    const others = await hasOtherMachines(scene);
    for (const [diffId, by] of users) {
      if (present.has(diffId)) continue;
      for (const group of groupsOf(diffId, by)) {
        const isElsewhere = others && group.some(({ runnerId }) => runnerId === null);
        yield {
          kind: 'layer-missing',
          id: diffId,
          where: namesOf(group),
          problem: `layer ${shortLayer(diffId)} is not on this machine${isElsewhere ? ELSEWHERE : isBuilt(diffId) ? adviceFor(group) : ''}`,
          repair: isElsewhere
            ? undefined
            : await repairLayer(scene, { diffId, users: group, how: 'missing', why: 'its files are gone' }),
        } satisfies Finding;
      }
    }
  },
};

const ELSEWHERE = '. The database knows of other machines, one of which may have it';

/** By id, those whose directories are really there. */
export async function presentLayers({ store }: Pick<Scene, 'store'>): Promise<ReadonlySet<string>> {
  const layers = await store.list();
  return new Set(layers.filter(({ path }) => isLayerThere(dirname(path))).map(({ diffId }) => diffId));
}

/** For what a repair leaves alone. */
export const adviceFor = (users: readonly LayerUser[]) =>
  users.every(isBusy) ? '. What runs on it is left alone: save what is needed out of it, and delete it' : '';
