import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createDamagedLayers } from '../../snapshots/damaged-layers.ts';
import { isLeft } from '../age.ts';
import { shortLayer } from '../layer-users.ts';
import type { Check, Finding, Scene } from '../types.ts';
import { removeTree } from './temporary-files.ts';

/** Damaged layers that are there anew. What ran on one goes on with the old files, which are nobody's when it has ended. */
export const setAsideLayers: Check = {
  name: 'set-aside-layers',
  title: 'damaged layers that were set aside',
  async *find(scene) {
    const directory = join(scene.store.root, 'damaged');
    const known = await scene.store.listDamaged();
    const free = await unusedNumbers(scene);
    for (const { number, record, path } of known) {
      if (!free.has(number) || !(await isLeft(scene, path))) continue;
      yield {
        kind: 'layer-set-aside',
        id: record.diffId,
        where: path,
        problem: `layer ${shortLayer(record.diffId)} was damaged and is there anew, and nothing runs on these files`,
        repair: { does: 'remove them', run: () => remove(scene, number) },
      } satisfies Finding;
    }
    for (const name of await readdir(directory)) {
      const where = join(directory, name);
      // Whose it was is not known, so anything that runs might have it.
      if (!(await isLeft(scene, where)) || (await anythingRuns(scene)) || !(await isUnknown(scene, name))) continue;
      const problem = 'nothing says what was set aside here, and nothing runs that could have it';
      const repair = { does: 'remove it', run: () => removeUnknown(scene, name, where) };
      yield { kind: 'layer-set-aside', id: name, where, problem, repair } satisfies Finding;
    }
  },
};

/** By the rule that garbage collection goes by. */
async function unusedNumbers({ db, store, layers, runnerId }: Scene): Promise<ReadonlySet<number>> {
  const items = await createDamagedLayers({ db, store, layers, runnerId, graceSeconds: 0 }).plan();
  return new Set(items.filter(({ goes }) => goes === 'sweep').map(({ id }) => Number(id.split(' ')[0])));
}

async function remove(scene: Scene, number: number): Promise<string | undefined> {
  if (!(await unusedNumbers(scene)).has(number)) return undefined;
  await scene.store.removeDamaged(number);
  return 'removed';
}

const anythingRuns = async ({ containers }: Scene) => (await containers.list()).some(({ running }) => running);

/** One whose repair fails is put back, so it is known as long as that takes; the list is read before, since it may end meanwhile. */
async function isUnknown({ store }: Scene, name: string): Promise<boolean> {
  if (store.numbersUnderRepair().has(Number(name))) return false;
  const known = await store.listDamaged();
  return !store.numbersUnderRepair().has(Number(name)) && !known.some(({ number }) => String(number) === name);
}

async function removeUnknown(scene: Scene, name: string, path: string): Promise<string | undefined> {
  if ((await anythingRuns(scene)) || !(await isUnknown(scene, name))) return undefined;
  await removeTree(path, scene.signal);
  return 'removed';
}
