import { readdir, readlink, rm, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { readLayerRecord } from '../../images/layer-record.ts';
import type { Layer } from '../../images/types.ts';
import { errnoOf } from '../../platform/errors.ts';
import { shortLayer } from '../layer-users.ts';
import type { Check, Finding, Scene } from '../types.ts';
import { presentLayers } from './missing-layers.ts';

/** What the store's own files say of each other: a record beside each layer, and a name for each record. */
export const layerRecords: Check = {
  name: 'layer-records',
  title: 'records of layers',
  async *find(scene) {
    yield* scene.openedWith;
    const present = await presentLayers(scene);
    const layers = (await scene.store.list()).filter(({ diffId }) => present.has(diffId));
    for (const layer of layers) {
      const problem = await faultOf(layer);
      if (problem === undefined) continue;
      yield {
        kind: 'layer-record',
        id: layer.diffId,
        where: join(dirname(layer.path), 'layer.json'),
        problem,
        repair: { does: 'write it again', run: () => rewrite(scene, layer) },
      } satisfies Finding;
    }
    yield* names(scene, layers);
  },
};

async function faultOf({ path, diffId, sizeBytes }: Layer): Promise<string | undefined> {
  const record = await readLayerRecord(dirname(path));
  if (record === undefined) return `the record of layer ${shortLayer(diffId)} cannot be read`;
  if (record.diffId !== diffId) return `it is the record of ${shortLayer(record.diffId)}, not of ${shortLayer(diffId)}`;
  if (record.sizeBytes !== sizeBytes) return `it says ${record.sizeBytes} bytes, and said ${sizeBytes} before`;
  return undefined;
}

async function rewrite({ store }: Scene, layer: Layer): Promise<string | undefined> {
  if ((await faultOf(layer)) === undefined) return undefined;
  return (await store.rewriteRecord(layer.diffId)) ? 'written again' : undefined;
}

/** Links by id, which the store makes with the layers. */
async function* names({ store }: Scene, layers: readonly Layer[]): AsyncGenerator<Finding> {
  const directory = join(store.root, 'by-diff-id');
  // Listed before the layers are asked for again: one that is being made has its link last.
  const links = await readdir(directory);
  const wanted = new Map(layers.map(({ diffId, path }) => [diffId, targetOf(path)]));
  const known = new Set((await store.list()).map(({ diffId }) => diffId));
  for (const [diffId, target] of wanted) {
    if ((await targetAt(join(directory, diffId))) === target || !(await isStored(store, diffId))) continue;
    const where = join(directory, diffId);
    const problem = `the name of layer ${shortLayer(diffId)} does not lead to it`;
    yield {
      kind: 'layer-name',
      id: diffId,
      where,
      problem,
      repair: { does: 'make it anew', run: () => link(where, target) },
    };
  }
  for (const name of links) {
    if (known.has(name)) continue;
    const where = join(directory, name);
    if ((await targetAt(where)) === undefined) continue;
    const problem = 'it is a name of no layer';
    yield {
      kind: 'layer-name',
      id: name,
      where,
      problem,
      repair: { does: 'remove it', run: async () => ((await isStored(store, name)) ? undefined : remove(where)) },
    };
  }
}

const isStored = async (store: Scene['store'], diffId: string) =>
  (await store.list()).some((layer) => layer.diffId === diffId);

const targetOf = (path: string) => join('..', 'layers', basename(dirname(path)));

async function targetAt(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    // Something that is no link.
    return '';
  }
}

async function link(path: string, target: string): Promise<string | undefined> {
  if ((await targetAt(path)) === target) return undefined;
  await rm(path, { recursive: true, force: true });
  await symlink(target, path);
  return 'made anew';
}

async function remove(path: string): Promise<string> {
  await rm(path, { recursive: true, force: true });
  return 'removed';
}
