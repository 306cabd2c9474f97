import { randomBytes } from 'node:crypto';
import { open, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DarkroomError, errnoOf, undefinedIfMissing } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import { syncDirectory } from '../platform/sync-directory.ts';
import { type DamagedLayer, type LayerDirectory, openLayerDirectory, type StoredLayer } from './layer-directory.ts';
import { isLayerThere, layerDiskOf, mountLayerDisk, unmountIdleLayerDisk, unmountLayerDisk } from './layer-disk.ts';
import { type LayerRecord, replaceLayerRecord } from './layer-record.ts';
import type { RestoredRecord } from './restore-records.ts';
import { createSharedRuns } from './shared-runs.ts';
import type { Layer, LayerStore, SweepOptions } from './types.ts';

export interface LayerStoreOptions {
  /**
   * How long a layer that `get` or `add` gave out is safe from `sweep` without being reachable. It bridges the time from
   * there to the record that makes the layer reachable.
   */
  graceMs?: number;
  /** A clock that never goes back. */
  now?: () => number;
}

export interface OpenLayerStore extends LayerStore {
  /** Whose records could not be read when it was opened, and were written again. */
  readonly restored: readonly RestoredRecord[];
  /** Gives up the mounts of layers on disks. Sandboxes that have one keep it. */
  close(): Promise<void>;
  /**
   * Takes a damaged layer out of the store: for `get` and `add` it is not there, and when it is added again it comes to the same place.
   * `putBack` undoes that unless it has. What has it mounted keeps it. Undefined for a layer that is not there.
   */
  setAside(diffId: string): Promise<{ putBack(): Promise<void> } | undefined>;
  /** Writes the record of a layer again, which somebody has changed or damaged; with another size where one is given. False when it is not there. */
  rewriteRecord(diffId: string, sizeBytes?: number): Promise<boolean>;
  /** Gives up a layer whose directory somebody has taken away: it can be added again. False when it is there. */
  forgetGone(diffId: string): Promise<boolean>;
  /** What was set aside and is there anew. What has it mounted has only these files. */
  listDamaged(): Promise<DamagedLayer[]>;
  /** Numbers of those that were set aside and are not there anew: they are fetched again, or put back. */
  numbersUnderRepair(): ReadonlySet<number>;
  /** Nothing to do for one that is not in that list. */
  removeDamaged(number: number, options?: SweepOptions): Promise<void>;
  /** Directories of calls that never ended. */
  listLitter(): Promise<string[]>;
  /** Removes them, as each sweep does. Returns which. */
  sweepLitter(options?: SweepOptions): Promise<string[]>;
}

const DEFAULT_GRACE_MS = 10 * 60_000;
/** A layer on a disk that nobody asked for so long is not mounted any more; sooner where many are. Whoever was given one has begun to use it by then. */
const MOUNTED_MS = 60 * 60_000;
const MANY_MOUNTED_MS = 5 * 60_000;
const MANY = 64;

/**
 * The store of one process: nobody else writes under `root`.
 *
 * A pull may end while a sweep runs with a set of reachable layers that was read before, so reachability alone cannot
 * decide. Each layer that is given out is therefore held for `graceMs`, and after a start so is everything, for pulls that go
 * on where they were. A pull that takes longer than that asks `get` for all its layers again right before it records them,
 * and fetches one that is gone.
 */
export async function createLayerStore(root: string, options: LayerStoreOptions = {}): Promise<OpenLayerStore> {
  const graceMs = options.graceMs ?? DEFAULT_GRACE_MS;
  const now = options.now ?? (() => performance.now());
  const { directory, layers, nextNumber, restored } = await openLayerDirectory(root);
  const stored = new Map(layers.map((layer) => [layer.record.diffId, layer]));
  const givenOut = new Map(layers.map((layer) => [layer.record.diffId, now()]));
  /** Temporary directories of calls that run. */
  const inUse = new Set<string>();
  /** Numbers of layers that were set aside. */
  const places = new Map<string, number>();
  /** Of layers on disks. */
  const mounts = new Map<string, Promise<void>>();
  const fills = createSharedRuns<Layer>();
  let lastChange: Promise<unknown> = Promise.resolve();
  let lastNumber = nextNumber - 1;

  function describe({ number, record }: StoredLayer): Layer {
    // Thousands are listed at once, and `join` is slow.
    const shortPath = `layers/${number}/diff`;
    return {
      diffId: record.diffId,
      path: `${root}/${shortPath}`,
      shortPath,
      sizeBytes: record.sizeBytes,
      ...(record.disk === undefined ? {} : { onDisk: true }),
    };
  }

  function giveOut(diffId: string): Layer | undefined {
    const layer = stored.get(diffId);
    if (layer === undefined) return undefined;
    givenOut.set(diffId, now());
    return describe(layer);
  }

  /** Changes of the index. What one layer's removal takes out must not be what its next making puts in. */
  function oneAtATime<T>(change: () => Promise<T>): Promise<T> {
    const result = lastChange.then(change);
    lastChange = result.catch(() => {});
    return result;
  }

  async function publish(temporary: string, record: LayerRecord): Promise<Layer> {
    // A call that was aborted when it was all but done may still be here when the next one comes.
    const earlier = giveOut(record.diffId);
    if (earlier !== undefined) {
      await discardTemporary(directory, temporary);
      return earlier;
    }
    const layer = { number: places.get(record.diffId) ?? ++lastNumber, record };
    await directory.publish(temporary, layer);
    places.delete(record.diffId);
    stored.set(record.diffId, layer);
    givenOut.set(record.diffId, now());
    return describe(layer);
  }

  async function fillAndPublish(
    diffId: string,
    fill: Parameters<LayerStore['add']>[1],
    signal: AbortSignal,
  ): Promise<Layer> {
    const temporary = directory.newTemporary();
    // Before it is there: a sweep that sees it must know whose it is.
    inUse.add(temporary);
    try {
      await directory.makeTemporary(temporary);
      const { sizeBytes } = await fill(join(temporary, 'diff'), signal);
      signal.throwIfAborted();
      await failpoint('seal.filled');
      const record = { diffId, sizeBytes, createdAt: new Date().toISOString() };
      await directory.complete(temporary, record);
      await directory.sync();
      await failpoint('seal.synced');
      const layer = await oneAtATime(() => publish(temporary, record));
      await failpoint('seal.renamed');
      await directory.syncNames();
      return layer;
    } catch (error) {
      await discardTemporary(directory, temporary);
      throw storageError(diffId, error);
    } finally {
      inUse.delete(temporary);
    }
  }

  async function make(fill: Parameters<LayerStore['make']>[0]): Promise<Layer | undefined> {
    const diffId = `built:${randomBytes(32).toString('hex')}`;
    const temporary = directory.newTemporary();
    inUse.add(temporary);
    try {
      await directory.makeTemporary(temporary);
      const filled = await fill(join(temporary, 'diff'));
      if (filled === undefined) {
        await discardTemporary(directory, temporary);
        return undefined;
      }
      const record = { diffId, sizeBytes: filled.sizeBytes, createdAt: new Date().toISOString() };
      await directory.complete(temporary, record);
      await failpoint('seal.made');
      const layer = await oneAtATime(() => publish(temporary, record));
      await failpoint('seal.made-named');
      return layer;
    } catch (error) {
      await discardTemporary(directory, temporary);
      throw storageError(diffId, error);
    } finally {
      inUse.delete(temporary);
    }
  }

  async function makeFromDisk(image: string, disk: string): Promise<Layer> {
    const diffId = `built:${randomBytes(32).toString('hex')}`;
    const temporary = directory.newTemporary();
    inUse.add(temporary);
    try {
      await directory.makeTemporary(temporary);
      const { blocks } = await stat(image);
      const record = { diffId, sizeBytes: blocks * 512, createdAt: new Date().toISOString(), disk };
      await rename(image, layerDiskOf(temporary));
      await failpoint('seal.disk-moved');
      await directory.complete(temporary, record);
      await syncRecord(temporary);
      await failpoint('seal.disk-synced');
      const layer = await oneAtATime(() => publish(temporary, record));
      await failpoint('seal.disk-named');
      const mounting = mounted(diffId);
      mounting.catch(() => {});
      await directory.syncNames();
      await failpoint('seal.disk-renamed');
      await mounting;
      return layer;
    } catch (error) {
      await discardTemporary(directory, temporary);
      throw storageError(diffId, error);
    } finally {
      inUse.delete(temporary);
    }
  }

  /** The same mount for all who ask for it. */
  async function mounted(diffId: string): Promise<void> {
    const layer = stored.get(diffId);
    const root = layer?.record.disk;
    if (layer === undefined || root === undefined) return;
    let mounting = mounts.get(diffId);
    if (mounting === undefined) {
      mounting = mountLayerDisk(dirname(describe(layer).path), root);
      mounts.set(diffId, mounting);
      // The next one tries again.
      mounting.catch(() => mounts.delete(diffId));
      if (mounts.size > MANY) unmountIdle();
    }
    await mounting;
  }

  /** Each costs the host a device, a thread and some 50 KB. Nothing is awaited between the look and the end, so that nobody is given one meanwhile. */
  function unmountIdle(): void {
    const after = mounts.size > MANY ? MANY_MOUNTED_MS : MOUNTED_MS;
    for (const diffId of [...mounts.keys()]) {
      const layer = stored.get(diffId);
      if (layer === undefined || now() - (givenOut.get(diffId) ?? 0) < after) continue;
      if (unmountIdleLayerDisk(dirname(describe(layer).path))) mounts.delete(diffId);
    }
  }

  async function unmounted(diffId: string, layer: StoredLayer): Promise<void> {
    if (layer.record.disk === undefined) return;
    await mounts.get(diffId)?.catch(() => {});
    mounts.delete(diffId);
    unmountLayerDisk(dirname(describe(layer).path));
  }

  /** What is not removed before the signal is litter. */
  async function removeFiles(path: string, options: SweepOptions = {}): Promise<void> {
    try {
      await directory.removeTemporary(path, options);
    } catch (error) {
      if (!options.signal?.aborted) throw error;
    }
  }

  async function discardDamaged(number: number): Promise<string | undefined> {
    const isThere = (await directory.listDamaged()).some((damaged) => damaged.number === number);
    return isThere ? directory.discardDamaged(number) : undefined;
  }

  async function listLitter(): Promise<string[]> {
    return (await directory.listTemporary()).filter((path) => !inUse.has(path));
  }

  async function sweepLitter(options?: SweepOptions): Promise<string[]> {
    const gone: string[] = [];
    for (const path of await listLitter()) {
      if (options?.signal?.aborted) break;
      await removeFiles(path, options);
      gone.push(path);
    }
    return gone;
  }

  return {
    root,
    restored,
    make,
    makeFromDisk,
    sync: () => directory.sync(),
    async get(diffId) {
      const layer = giveOut(diffId);
      if (layer !== undefined) await mounted(diffId);
      return layer;
    },
    async add(diffId, fill, signal) {
      const existing = giveOut(diffId);
      if (existing !== undefined) return existing;
      const begin = async (shared: AbortSignal) => giveOut(diffId) ?? (await fillAndPublish(diffId, fill, shared));
      return await fills.join(diffId, begin, { signal, onReport: () => {} });
    },
    async sweep(reachable, options) {
      const freed: string[] = [];
      await sweepLitter(options);
      for (const [diffId, layer] of [...stored]) {
        if (options?.signal?.aborted) break;
        const isKept = () =>
          reachable.has(diffId) || now() - (givenOut.get(diffId) ?? 0) < graceMs || stored.get(diffId) !== layer;
        // In one turn: whoever adds it again meanwhile must not find its name still taken.
        const discarded = await oneAtATime(async () => {
          // Asked again for each: removing the one before took time, in which a pull may have come for this one.
          if (isKept()) return undefined;
          // Gone for `get` and `add` before the first file is: nobody is handed a layer that is on its way out.
          stored.delete(diffId);
          givenOut.delete(diffId);
          await unmounted(diffId, layer);
          await failpoint('gc.layer-forgotten');
          // Those that had it mounted need it no more than the layer; the next start would put it back.
          const aside = await discardDamaged(layer.number);
          const own = await directory.discard(layer);
          return aside === undefined ? [own] : [aside, own];
        });
        if (discarded === undefined) continue;
        freed.push(diffId);
        await failpoint('gc.discarded');
        for (const path of discarded) await removeFiles(path, options);
        await failpoint('gc.layer-removed');
      }
      unmountIdle();
      return freed;
    },
    listLitter,
    sweepLitter,
    async listDamaged() {
      const all = await directory.listDamaged();
      return all.filter(({ record }) => stored.has(record.diffId));
    },
    numbersUnderRepair: () => new Set(places.values()),
    async removeDamaged(number, options) {
      const discarded = await oneAtATime(async () => {
        const layer = (await directory.listDamaged()).find((damaged) => damaged.number === number);
        return layer && stored.has(layer.record.diffId) ? directory.discardDamaged(number) : undefined;
      });
      if (discarded !== undefined) await removeFiles(discarded, options);
    },
    rewriteRecord: (diffId, sizeBytes) =>
      oneAtATime(async () => {
        const layer = stored.get(diffId);
        if (layer === undefined) return false;
        const record = { ...layer.record, sizeBytes: sizeBytes ?? layer.record.sizeBytes };
        await replaceLayerRecord(dirname(describe(layer).path), record);
        layer.record = record;
        return true;
      }),
    forgetGone: (diffId) =>
      oneAtATime(async () => {
        const layer = stored.get(diffId);
        if (layer === undefined || isLayerThere(dirname(describe(layer).path))) return false;
        stored.delete(diffId);
        givenOut.delete(diffId);
        mounts.delete(diffId);
        // Something of it may still be there, and would be in the way of the next.
        const left = await directory.discard(layer).catch(undefinedIfMissing);
        if (left !== undefined) await removeFiles(left);
        return true;
      }),
    setAside: (diffId) =>
      oneAtATime(async () => {
        const layer = stored.get(diffId);
        if (layer === undefined) return undefined;
        // Before it can be seen there.
        places.set(diffId, layer.number);
        try {
          await directory.setAside(layer);
        } catch (error) {
          places.delete(diffId);
          throw error;
        }
        stored.delete(diffId);
        const putBack = async () => {
          if (stored.has(diffId) || places.get(diffId) !== layer.number) return;
          await directory.putBack(layer);
          places.delete(diffId);
          stored.set(diffId, layer);
          givenOut.set(diffId, now());
        };
        return { putBack: () => oneAtATime(putBack) };
      }),
    async close() {
      for (const [diffId, layer] of stored) await unmounted(diffId, layer);
    },
    list: async () => [...stored.values()].map(describe),
  };
}

/** That of a layer which a row will name, before the layer is there. All at once, because a disk takes as long for one. */
async function syncRecord(temporary: string): Promise<void> {
  const syncFile = async (name: string) => {
    const file = await open(join(temporary, name), 'r');
    await file.sync().finally(() => file.close());
  };
  await Promise.all([syncFile('layer.json'), syncFile('disk.img'), syncDirectory(temporary)]);
}

/** The failure that led here says more than one to clean up; a sweep takes what stays. */
async function discardTemporary(directory: LayerDirectory, temporary: string): Promise<void> {
  await directory.removeTemporary(temporary).catch(() => {});
}

function storageError(diffId: string, error: unknown): unknown {
  const errno = errnoOf(error);
  if (errno === undefined || error instanceof DarkroomError) return error;
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new DarkroomError('insufficient_storage', `store layer ${diffId}: the disk is full`, {
      retryable: true,
      cause: error,
    });
  }
  return new DarkroomError('internal', `store layer ${diffId}: ${errno}`, { cause: error });
}
