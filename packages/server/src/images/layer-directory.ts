import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readlink, rename, stat, symlink, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { undefinedIfMissing } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { run } from '../platform/process.ts';
import { syncDirectory } from '../platform/sync-directory.ts';
import { type LayerRecord, readLayerRecord, writeLayerRecord } from './layer-record.ts';
import { type RestoredRecord, restoreRecords } from './restore-records.ts';
import type { SweepOptions } from './types.ts';

/** A slow disk may have gigabytes to write back. */
const SYNC_MS = 10 * 60_000;
const REMOVE_MS = 30 * 60_000;
const GENTLY = ['nice', '-n', '19', 'ionice', '-c', '3'];

export interface StoredLayer {
  number: number;
  record: LayerRecord;
}

/** What was set aside. */
export interface DamagedLayer extends StoredLayer {
  path: string;
  since: Date;
}

/**
 * The files of a layer store, and the order in which they change:
 *
 *     layers/<n>/diff          the layer, for a lowerdir; short, so that many fit in one option string
 *     layers/<n>/layer.json    its diffID and size
 *     layers/<n>/disk.img      where the layer was captured in one piece: `diff` is a place to mount a directory of it on
 *     by-diff-id/<diffID>      symlink to ../layers/<n>
 *     layers/<n>/tree          what its files are, to notice damage by (`health/`); `damaged` beside it says that they are
 *     tmp/<name>/              layers that are being filled or removed
 *     damaged/<n>/             layers that were taken out because their files are damaged; running sandboxes may have them
 *
 * A directory in `layers` is complete, because it gets there by a rename; and after a power cut too, because its file system was synced
 * before. For layers that were built that comes later, and whoever refers to one says whether it has (`LayerStore.make`). The index can
 * be made again from the records, and `open` does so after a crash between the two.
 */
export interface LayerDirectory {
  /** The path of a temporary directory that is not there yet; known before it can be seen by `listTemporary`. */
  newTemporary(): string;
  /** Empty, private, with `diff` in it. */
  makeTemporary(temporary: string): Promise<void>;
  /** Adds the record to a filled temporary directory. */
  complete(temporary: string, record: LayerRecord): Promise<void>;
  /** Everything that was written before is on disk when this resolves. */
  sync(): Promise<void>;
  /** Makes a complete temporary directory the layer. */
  publish(temporary: string, layer: StoredLayer): Promise<void>;
  /** What was published before stays so. */
  syncNames(): Promise<void>;
  /** Takes a layer out of the store. Its bytes may go later, with `removeTemporary`. */
  discard(layer: StoredLayer): Promise<string>;
  /** Takes a damaged layer out of the store. What was set aside of this place before goes. */
  setAside(layer: StoredLayer): Promise<void>;
  putBack(layer: StoredLayer): Promise<void>;
  /** Before that, what was set aside of a place can be taken out as by `discard`. */
  discardDamaged(number: number): Promise<string>;
  listDamaged(): Promise<DamagedLayer[]>;
  removeTemporary(path: string, options?: SweepOptions): Promise<void>;
  listTemporary(): Promise<string[]>;
}

export async function openLayerDirectory(
  root: string,
): Promise<{ directory: LayerDirectory; layers: StoredLayer[]; nextNumber: number; restored: RestoredRecord[] }> {
  const layersPath = join(root, 'layers');
  const indexPath = join(root, 'by-diff-id');
  const temporaryPath = join(root, 'tmp');
  const damagedPath = join(root, 'damaged');
  for (const path of [layersPath, indexPath, temporaryPath, damagedPath])
    await mkdir(path, { recursive: true, mode: 0o700 });
  await putBackLost(layersPath, damagedPath);
  const restored = await restoreRecords(layersPath, indexPath);
  const found = await readLayers(layersPath);
  // A predecessor may have been killed between a rename and its sync.
  await syncDirectory(layersPath);
  await repairIndex(indexPath, found.layers);
  // What is no layer got here by someone else's hand; in `tmp` a sweep takes it.
  for (const name of found.strangers) await rename(join(layersPath, name), newTemporary(temporaryPath));

  // One sync covers all that was written before it began, so those that come while one runs share the next.
  const sync = createGroupRun(() => run('sync', ['--file-system', root], { timeoutMs: SYNC_MS }));

  const directory: LayerDirectory = {
    newTemporary: () => newTemporary(temporaryPath),
    async makeTemporary(temporary) {
      await mkdir(temporary, { mode: 0o700 });
      await mkdir(join(temporary, 'diff'), { mode: 0o700 });
    },
    complete: (temporary, record) => writeLayerRecord(temporary, record),
    sync,
    async publish(temporary, { number, record }) {
      await rename(temporary, join(layersPath, String(number)));
      await failpoint('seal.named');
      await symlink(indexTarget(number), join(indexPath, record.diffId));
    },
    async syncNames() {
      await Promise.all([syncDirectory(layersPath), syncDirectory(indexPath)]);
    },
    async discard({ number, record }) {
      await unlink(join(indexPath, record.diffId)).catch(undefinedIfMissing);
      await failpoint('gc.unindexed');
      // Onto a name that is not there yet: on a full disk there may be no room for another directory.
      const temporary = join(temporaryPath, `discarded-${number}`);
      await rename(join(layersPath, String(number)), temporary);
      return temporary;
    },
    async setAside({ number, record }) {
      const aside = join(damagedPath, String(number));
      const earlier = newTemporary(temporaryPath);
      await rename(aside, earlier).catch(undefinedIfMissing);
      await unlink(join(indexPath, record.diffId)).catch(undefinedIfMissing);
      await failpoint('repair.unindexed');
      await rename(join(layersPath, String(number)), aside);
    },
    async putBack({ number, record }) {
      await rename(join(damagedPath, String(number)), join(layersPath, String(number)));
      await symlink(indexTarget(number), join(indexPath, record.diffId));
    },
    async discardDamaged(number) {
      const temporary = join(temporaryPath, `discarded-damaged-${number}`);
      await rename(join(damagedPath, String(number)), temporary);
      return temporary;
    },
    async listDamaged() {
      const found: DamagedLayer[] = [];
      for (const name of await readdir(damagedPath)) {
        const path = join(damagedPath, name);
        const record = await readLayerRecord(path);
        // The rename that set it aside was the last change of the directory itself.
        if (record !== undefined) found.push({ number: Number(name), record, path, since: (await stat(path)).ctime });
      }
      return found;
    },
    // With a tool, because names in layers may be any bytes, and trees of any depth.
    async removeTemporary(path, { gently = false, signal } = {}) {
      const [command = 'rm', ...args] = [...(gently ? GENTLY : []), 'rm', '-rf', '--one-file-system', '--', path];
      await run(command, args, { timeoutMs: REMOVE_MS, ...(signal === undefined ? {} : { signal }) });
    },
    async listTemporary() {
      return (await readdir(temporaryPath)).map((name) => join(temporaryPath, name));
    },
  };
  return { directory, layers: found.layers, nextNumber: found.nextNumber, restored };
}

/** A predecessor was killed before it had fetched a damaged layer again: until somebody does, those that have it need it. */
async function putBackLost(layersPath: string, damagedPath: string): Promise<void> {
  const there = new Set(await readdir(layersPath));
  for (const name of await readdir(damagedPath)) {
    if (!there.has(name)) await rename(join(damagedPath, name), join(layersPath, name));
  }
}

function createGroupRun(work: () => Promise<unknown>): () => Promise<void> {
  let running: Promise<void> = Promise.resolve();
  let next: Promise<void> | undefined;
  return () => {
    next ??= running.then(() => {
      const current = work().then(() => {});
      running = current.catch(() => {});
      next = undefined;
      return current;
    });
    return next;
  };
}

function newTemporary(temporaryPath: string): string {
  return join(temporaryPath, `layer-${randomUUID()}`);
}

function indexTarget(number: number): string {
  return join('..', 'layers', String(number));
}

async function readLayers(layersPath: string) {
  const layers: StoredLayer[] = [];
  const strangers: string[] = [];
  const seen = new Set<string>();
  let nextNumber = 1;
  const names = await readdir(layersPath);
  for (const name of names.toSorted((a, b) => Number(a) - Number(b))) {
    const number = /^\d{1,9}$/.test(name) ? Number(name) : undefined;
    const record = number === undefined ? undefined : await readLayerRecord(join(layersPath, name));
    if (number !== undefined) nextNumber = Math.max(nextNumber, number + 1);
    if (number === undefined || record === undefined || seen.has(record.diffId)) strangers.push(name);
    else {
      seen.add(record.diffId);
      layers.push({ number, record });
    }
  }
  return { layers, strangers, nextNumber };
}

async function repairIndex(indexPath: string, layers: readonly StoredLayer[]): Promise<void> {
  const wanted = new Map(layers.map(({ record, number }) => [record.diffId, indexTarget(number)]));
  for (const name of await readdir(indexPath)) {
    const path = join(indexPath, name);
    const target = await readlink(path).catch(() => undefined);
    if (target !== undefined && target === wanted.get(name)) wanted.delete(name);
    else await unlink(path);
  }
  for (const [diffId, target] of wanted) await symlink(target, join(indexPath, diffId));
  if (wanted.size > 0) await syncDirectory(indexPath);
}
