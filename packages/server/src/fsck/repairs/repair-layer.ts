import { isBuilt, type LayerUser } from '../layer-users.ts';
import type { Repair, Scene } from '../types.ts';
import { repairBuiltLayer } from './repair-built-layer.ts';
import { repairPulledLayer } from './repair-pulled-layer.ts';

/** A layer that rows need, and that is not there as it was. */
export interface LostLayer {
  diffId: string;
  users: readonly LayerUser[];
  how: 'missing' | 'damaged';
  /** For a person. */
  why: string;
  /** All that differs, of a damaged one. */
  differences?: readonly string[];
}

/** One that was pulled is fetched again; of one that was made here, what stands on it is made again, or says what it lost. */
export async function repairLayer(scene: Scene, lost: LostLayer): Promise<Repair | undefined> {
  return isBuilt(lost.diffId) ? await repairBuiltLayer(scene, lost) : repairPulledLayer(scene, lost);
}
