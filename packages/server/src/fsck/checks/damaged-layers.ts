import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { damageMarkPath } from '../../images/health/verify-layer.ts';
import { isLayerThere } from '../../images/layer-disk.ts';
import type { Layer } from '../../images/types.ts';
import { messageOf } from '../../platform/errors.ts';
import { groupsOf, isBuilt, namesOf, readLayerUsers, shortLayer } from '../layer-users.ts';
import { lookAtLayer } from '../look-at-layer.ts';
import { repairLayer } from '../repairs/repair-layer.ts';
import type { Check, Finding, Progress, Scene } from '../types.ts';
import { adviceFor, presentLayers } from './missing-layers.ts';

/** Whether layers are what they were when they were made, by what was recorded of their files then. */
export const damagedLayers: Check = {
  name: 'damaged-layers',
  title: 'files of layers',
  async *find(scene) {
    const users = await readLayerUsers(scene);
    const present = await presentLayers(scene);
    const layers = (await scene.store.list()).filter(({ diffId }) => users.has(diffId) && present.has(diffId));
    for (const [index, layer] of layers.entries()) {
      yield { done: index, total: layers.length } satisfies Progress;
      const { diffId } = layer;
      const differences = await damageOf(scene, layer).catch((error: unknown) => {
        scene.signal.throwIfAborted();
        return { unknown: messageOf(error) };
      });
      if ('unknown' in differences) {
        // What is not known to be damaged is not repaired, and keeps nobody from looking at the others.
        const problem = `the files of layer ${shortLayer(diffId)} could not be looked at: ${differences.unknown}`;
        yield { kind: 'check-failed', id: diffId, where: dirname(layer.path), problem } satisfies Finding;
        continue;
      }
      if (differences.length === 0) continue;
      const [first = '', ...more] = differences;
      const why = more.length === 0 ? first : `${first}, and ${more.length} more`;
      for (const group of groupsOf(diffId, users.get(diffId) ?? [])) {
        const advice = isBuilt(diffId) ? adviceFor(group) : '';
        yield {
          kind: 'layer-damaged',
          id: diffId,
          where: dirname(layer.path),
          problem: `the files of layer ${shortLayer(diffId)} of ${namesOf(group)} are damaged: ${why}${advice}`,
          repair: await repairLayer(scene, { diffId, users: group, how: 'damaged', why, differences }),
        } satisfies Finding;
      }
    }
  },
};

/** What is wrong with a layer, for a person; empty when nothing is. */
async function damageOf(scene: Scene, layer: Layer): Promise<readonly string[]> {
  const directory = dirname(layer.path);
  // Swept since it was listed.
  if (!isLayerThere(directory)) return [];
  if (scene.health.isDamaged(layer.diffId)) return markOf(layer.path);
  const verdict = await lookAtLayer(scene, layer);
  return verdict.kind === 'damaged' ? verdict.differences : [];
}

function markOf(path: string): readonly string[] {
  try {
    const lines = readFileSync(damageMarkPath(path), 'utf8').split('\n').filter(Boolean);
    if (lines.length > 0) return lines;
  } catch {
    // What is known is not written down.
  }
  return ['it was found damaged before'];
}
