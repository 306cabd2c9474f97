import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf } from '../platform/errors.ts';
import { replaceFile } from '../platform/replace-file.ts';

/** What `layer.json` says about the directory beside it. */
const recordSchema = z.object({
  diffId: z.string().regex(/^[a-z0-9]+:[0-9a-f]{32,}$/),
  sizeBytes: z.int().nonnegative(),
  createdAt: z.iso.datetime(),
  /** Of a layer that is a directory of the disk beside it (`layer-disk.ts`): which. */
  disk: z
    .string()
    .regex(/^[a-z]{1,32}$/)
    .optional(),
});

export type LayerRecord = z.infer<typeof recordSchema>;

const FILE = 'layer.json';

export async function writeLayerRecord(layerDirectory: string, record: LayerRecord): Promise<void> {
  await writeFile(join(layerDirectory, FILE), `${JSON.stringify(record)}\n`, { flag: 'wx', mode: 0o600 });
}

/** Puts a record in the place of one that is wrong or unreadable. */
export const replaceLayerRecord = (layerDirectory: string, record: LayerRecord): Promise<void> =>
  replaceFile(join(layerDirectory, FILE), `${JSON.stringify(record)}\n`, 0o600);

/** Undefined where the directory is no layer. */
export async function readLayerRecord(layerDirectory: string): Promise<LayerRecord | undefined> {
  try {
    const parsed = recordSchema.safeParse(JSON.parse(await readFile(join(layerDirectory, FILE), 'utf8')));
    return parsed.data;
  } catch (error) {
    if (error instanceof SyntaxError || errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
