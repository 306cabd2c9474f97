import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { layerDiskOf } from '../../images/layer-disk.ts';
import type { Layer } from '../../images/types.ts';
import { run } from '../../platform/process.ts';
import { readLayerUsers, shortLayer } from '../layer-users.ts';
import type { Check, Finding, Progress, Scene } from '../types.ts';
import { presentLayers } from './missing-layers.ts';

/** Millions of files on a slow disk. */
const MEASURE_MS = 30 * 60_000;
const SLACK_BYTES = 1024 * 1024;

/**
 * The size in a layer's record. Where a layer comes from decides what was counted, the bytes of its files or what they take on the disk, so what is between half the
 * one and twice the other is right.
 */
export const layerSizes: Check = {
  name: 'layer-sizes',
  title: 'sizes of layers',
  async *find(scene) {
    if (scene.depth === 'quick') return;
    const users = await readLayerUsers(scene);
    const present = await presentLayers(scene);
    const layers = (await scene.store.list()).filter(({ diffId }) => users.has(diffId) && present.has(diffId));
    for (const [index, layer] of layers.entries()) {
      yield { done: index, total: layers.length } satisfies Progress;
      const measured = await measure(scene, layer);
      if (isRight(layer.sizeBytes, measured)) continue;
      yield {
        kind: 'layer-size',
        id: layer.diffId,
        where: dirname(layer.path),
        problem: `the record of layer ${shortLayer(layer.diffId)} says ${layer.sizeBytes} bytes, and its files take ${measured.disk}`,
        repair: { does: 'write the right size', run: () => correct(scene, layer.diffId) },
      } satisfies Finding;
    }
  },
};

interface Measured {
  /** What the files say they have. */
  files: number;
  /** What they take. */
  disk: number;
}

async function measure({ signal }: Scene, { path, onDisk }: Layer): Promise<Measured> {
  if (onDisk === true) {
    const { blocks, size } = await stat(layerDiskOf(dirname(path)));
    return { files: Math.min(blocks * 512, size), disk: blocks * 512 };
  }
  const du = async (unit: readonly string[]) => {
    const args = ['--summarize', '--one-file-system', ...unit, '--', path];
    const { stdout } = await run('du', args, { timeoutMs: MEASURE_MS, signal });
    return Number.parseInt(stdout, 10);
  };
  return { files: await du(['--bytes']), disk: await du(['--block-size=1']) };
}

function isRight(bytes: number, { files, disk }: Measured): boolean {
  return bytes >= Math.min(files, disk) / 2 - SLACK_BYTES && bytes <= Math.max(files, disk) * 2 + SLACK_BYTES;
}

async function correct(scene: Scene, diffId: string): Promise<string | undefined> {
  const layer = (await scene.store.list()).find((each) => each.diffId === diffId);
  const measured = layer && (await measure(scene, layer));
  if (layer === undefined || measured === undefined || isRight(layer.sizeBytes, measured)) return undefined;
  return (await scene.store.rewriteRecord(diffId, measured.disk)) ? `${measured.disk} bytes` : undefined;
}
