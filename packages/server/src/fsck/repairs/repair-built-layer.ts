import { moveSandbox, moveSnapshot } from '../../lifecycle/move.ts';
import { FSCK } from '../actor.ts';
import { isBusy, type LayerUser, namesOf, shortLayer, stillNeeds } from '../layer-users.ts';
import { isSoundAfterAll } from '../look-at-layer.ts';
import type { Repair, Scene } from '../types.ts';
import { buildAgain, findDefinition } from './build-again.ts';
import type { LostLayer } from './repair-layer.ts';

interface Plan {
  build: LayerUser[];
  fail: LayerUser[];
}

/**
 * Nothing has its bytes but this disk. Snapshots whose definition is there are built again, from the cache as far as that is sound; the others, and sandboxes
 * that do not run, say what they lost. What runs is left as it is. Undefined when there is nothing but that.
 */
export async function repairBuiltLayer(scene: Scene, lost: LostLayer): Promise<Repair | undefined> {
  const plan = await planFor(scene, lost.users);
  if (plan.build.length + plan.fail.length === 0) return undefined;
  return {
    does: describe(plan, 'build', 'mark', 'as failed'),
    async run() {
      const [build, fail] = await Promise.all([
        findStill(scene, plan.build, lost.diffId),
        findStill(scene, plan.fail, lost.diffId),
      ]);
      if (build.length + fail.length === 0) return undefined;
      if (lost.how === 'damaged' && (await isSoundAfterAll(scene, lost.diffId))) {
        await scene.health.noteSound(lost.diffId);
        return 'it is what it was, and is not said to be damaged any more';
      }
      if (lost.how === 'damaged') await scene.health.noteDamaged(lost.diffId, lost.differences ?? []);
      else await scene.store.forgetGone(lost.diffId);
      const done: Plan = { build: [], fail: [] };
      const what = `Layer ${shortLayer(lost.diffId)} of it is ${lost.how} on the disk (${lost.why})`;
      for (const user of build) if (await buildAgain(scene, user.id, `${what}.`)) done.build.push(user);
      for (const user of fail) if (await sayLost(scene, user, lost, what)) done.fail.push(user);
      return done.build.length + done.fail.length === 0 ? undefined : describe(done, 'building', 'marked', 'as failed');
    },
  };
}

async function findStill(scene: Scene, users: readonly LayerUser[], diffId: string): Promise<LayerUser[]> {
  const still: LayerUser[] = [];
  for (const user of users) if (await stillNeeds(scene, user, diffId)) still.push(user);
  return still;
}

async function planFor(scene: Scene, users: readonly LayerUser[]): Promise<Plan> {
  const plan: Plan = { build: [], fail: [] };
  for (const user of users.filter((each) => !isBusy(each))) {
    const definition = user.type === 'snapshot' ? await findDefinition(scene, user.buildId) : undefined;
    (definition === undefined ? plan.fail : plan.build).push(user);
  }
  return plan;
}

function describe({ build, fail }: Plan, builds: string, marks: string, as: string): string {
  const parts = [
    ...(build.length === 0 ? [] : [`${builds} ${namesOf(build)} again`]),
    ...(fail.length === 0 ? [] : [`${marks} ${namesOf(fail)} ${as}`]),
  ];
  return parts.join('; ');
}

async function sayLost({ db }: Scene, user: LayerUser, { how }: LostLayer, what: string): Promise<boolean> {
  const change = { to: 'error', actor: FSCK, errorCode: 'unavailable' } as const;
  if (user.type === 'sandbox') {
    const hint =
      how === 'damaged'
        ? 'What it wrote itself is kept: start it to see whether it is still of use, or delete it.'
        : 'It cannot be started without. Delete it; new sandboxes of a snapshot that is built again are sound.';
    const moved = await moveSandbox(db, user.id, { ...change, from: ['stopped'], reason: `${what}. ${hint}` });
    return moved !== undefined;
  }
  const hint =
    user.sourceSandboxId === null
      ? 'It cannot be built again by itself, because its definition, an upload or a secret is not here any more. Delete it and create it again.'
      : `It was captured from sandbox ${user.sourceSandboxId}. Delete it, and capture it again if that is still there; else only a backup has its files.`;
  const move = { ...change, from: ['active', 'inactive'], reason: `${what}. ${hint}` } as const;
  return (await moveSnapshot(db, user.id, move)) !== undefined;
}
