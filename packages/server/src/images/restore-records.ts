import { existsSync } from 'node:fs';
import { readdir, readlink, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errnoOf } from '../platform/errors.ts';
import { run } from '../platform/process.ts';
import { layerDiskOf } from './layer-disk.ts';
import { type LayerRecord, readLayerRecord, replaceLayerRecord } from './layer-record.ts';

/** Gigabytes on a slow disk. */
const MEASURE_MS = 10 * 60_000;
const ID = /^[a-z0-9]+:[0-9a-f]{32,}$/;
/** What every captured disk has its files in. */
const ROOT_OF_DISKS = 'upper';

export interface RestoredRecord {
  diffId: string;
  /** Of the record. */
  path: string;
}

/**
 * Writes records again that cannot be read, from the links by id: without them whole layers would be taken for litter. A link leads to a layer that is
 * complete, because it is made last.
 */
export async function restoreRecords(layersPath: string, indexPath: string): Promise<RestoredRecord[]> {
  const restored: RestoredRecord[] = [];
  for (const diffId of (await readdir(indexPath)).filter((name) => ID.test(name))) {
    const target = await readlink(join(indexPath, diffId)).catch(() => '');
    const directory = join(layersPath, basename(target));
    const isPlace = dirname(target) === join('..', 'layers') && existsSync(join(directory, 'diff'));
    if (!isPlace || (await readLayerRecord(directory)) !== undefined) continue;
    await replaceLayerRecord(directory, await recordOf(diffId, directory));
    restored.push({ diffId, path: join(directory, 'layer.json') });
  }
  return restored;
}

async function recordOf(diffId: string, directory: string): Promise<LayerRecord> {
  const disk = await stat(layerDiskOf(directory)).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  const createdAt = (await stat(directory)).birthtime.toISOString();
  if (disk !== undefined) return { diffId, sizeBytes: disk.blocks * 512, createdAt, disk: ROOT_OF_DISKS };
  return { diffId, sizeBytes: await measure(join(directory, 'diff')), createdAt };
}

/** As it lies on the disk, which is about what was counted when it was made. */
async function measure(directory: string): Promise<number> {
  const args = ['--summarize', '--one-file-system', '--block-size=1', '--', directory];
  const { stdout } = await run('du', args, { timeoutMs: MEASURE_MS });
  return Number.parseInt(stdout, 10);
}
