import { moveSnapshot } from '../../lifecycle/move.ts';
import { noteRepair } from '../../lifecycle/note.ts';
import { DarkroomError } from '../../platform/errors.ts';
import { FSCK } from '../actor.ts';
import { type LayerUser, shortLayer } from '../layer-users.ts';
import type { Repair, Scene } from '../types.ts';
import type { LostLayer } from './repair-layer.ts';

/** It comes to the same place, so that nothing that names it changes. Where no registry gives it, a later run may have more luck. */
export function repairPulledLayer(scene: Scene, lost: LostLayer): Repair {
  return {
    does: 'fetch it again, by the images that have it',
    async run(signal) {
      using _hold = scene.layers.hold();
      const fetched = lost.how === 'damaged' ? await replace(scene, lost, signal) : await fetch(scene, lost, signal);
      if (fetched) {
        const reason = `Layer ${shortLayer(lost.diffId)} was ${lost.how} (${lost.why}). It was fetched again.`;
        await tell(scene, lost.users, reason);
        return 'fetched again';
      }
      if (lost.how === 'missing' && (await restSnapshots(scene, lost))) {
        return 'it could not be fetched now; its snapshots are inactive, and activating them pulls it again';
      }
      throw new DarkroomError('unavailable', 'no image that has it could be pulled', {
        hint: 'Run it again when the registry answers.',
        retryable: true,
      });
    },
  };
}

async function replace({ health }: Scene, { diffId, differences = [] }: LostLayer, signal: AbortSignal) {
  await health.noteDamaged(diffId, differences);
  return !(await health.refetch([diffId], signal)).includes(diffId);
}

async function fetch({ store, fetchAgain }: Scene, { diffId }: LostLayer, signal: AbortSignal): Promise<boolean> {
  // The store may not have noticed yet.
  await store.forgetGone(diffId);
  const isThere = async () => (await store.get(diffId)) !== undefined;
  return (await isThere()) || (await fetchAgain(diffId, signal)) || (await isThere());
}

/** Whether that is enough: nothing else needs the layer. */
async function restSnapshots(scene: Scene, { diffId, users }: LostLayer): Promise<boolean> {
  if (!users.every(isPlainSnapshot)) return false;
  for (const { id } of users) {
    await moveSnapshot(scene.db, id, {
      from: ['active'],
      to: 'inactive',
      actor: FSCK,
      reason: `Layer ${shortLayer(diffId)} is gone from the disk and could not be fetched again now. Activating the snapshot pulls it.`,
    });
  }
  return true;
}

const isPlainSnapshot = ({ type, state, buildId, sourceSandboxId }: LayerUser) =>
  type === 'snapshot' && state === 'active' && buildId === null && sourceSandboxId === null;

async function tell({ db }: Scene, users: readonly LayerUser[], reason: string): Promise<void> {
  for (const user of users) if (user.type === 'snapshot') await noteRepair(db, user, { actor: FSCK, reason });
}
