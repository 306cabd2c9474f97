import { existsSync } from 'node:fs';
import { rm, stat, utimes, writeFile } from 'node:fs/promises';
import { DarkroomError, messageOf } from '../../platform/errors.ts';
import { failpoint } from '../../platform/failpoints.ts';
import { abortable } from '../registry/deadline.ts';
import { createSharedRuns } from '../shared-runs.ts';
import type { Layer, LayerStore } from '../types.ts';
import type { LayerVerdict } from './compare-tree.ts';
import { treeRecordPath } from './tree-record.ts';
import { createLayerVerifier, damageMarkPath, type LayerVerifier } from './verify-layer.ts';

/** Whether the files of layers are still what they were. */
export interface LayerHealth extends Pick<LayerVerifier, 'verifyLayer'> {
  /**
   * To be called before something new is put on layers; what was looked at within the hour costs nothing, else some ten microseconds a file. A
   * damaged layer that was pulled is taken out of the store and fetched again, to the same place. One that was built here is known as damaged
   * from then on. Raises `unavailable` (retryable) when not all are sound then, or the signal's reason. Their contents are compared later, in
   * the background, once a day.
   */
  ensureSound(diffIds: readonly string[], signal: AbortSignal): Promise<void>;
  /** Of what somebody else found by `verifyLayer`: it is known as damaged from then on. */
  noteDamaged(diffId: string, differences: readonly string[]): Promise<void>;
  /** Of one that was known as damaged and is what it was, bytes and all: an error of a moment, or a person who put it right. */
  noteSound(diffId: string): Promise<void>;
  /** Damaged layers that were pulled are taken out of the store and fetched again. Resolves to those that could not be, which stay. */
  refetch(diffIds: readonly string[], signal: AbortSignal): Promise<string[]>;
  /** Results that have such a layer are not to be used. */
  isDamaged(diffId: string): boolean;
  /** The same store, whose new layers are recorded in the background. */
  watch<T extends LayerStore>(store: T): T;
  close(): Promise<void>;
}

export interface LayerHealthDeps {
  store: LayerStore & { setAside(diffId: string): Promise<{ putBack(): Promise<void> } | undefined> };
  /** Fetches a pulled layer again that was taken out of the store. Resolves whether it did. */
  fetchAgain(diffId: string, signal: AbortSignal): Promise<boolean>;
  /** Snapshots that have the layer, for the log. */
  usersOf(diffId: string): Promise<readonly string[]>;
  log: { warn(fields: object, message: string): void };
  /** A clock that never goes back, in milliseconds. */
  now?: () => number;
}

const FRESH_MS = 60 * 60_000;
const CONTENTS_EVERY_MS = 24 * 60 * 60_000;
const RECORD_AFTER_MS = 5000;
/** How ids of layers begin that were made here. */
const BUILT = 'built:';

export async function createLayerHealth(deps: LayerHealthDeps): Promise<LayerHealth> {
  const { store, log, now = () => performance.now() } = deps;
  const verifier = createLayerVerifier();
  const closed = new AbortController();
  const soundAt = new Map<string, number>();
  const damaged = new Map<string, string>();
  const looks = createSharedRuns<LayerVerdict, never>();
  const later = new Map<string, NodeJS.Timeout>();
  let background: Promise<unknown> = Promise.resolve();
  let lastRepair: Promise<unknown> = Promise.resolve();

  for (const layer of await store.list()) {
    if (existsSync(damageMarkPath(layer.path))) damaged.set(layer.diffId, 'it was found damaged before');
  }

  async function noteDamage(layer: Layer, differences: readonly string[]): Promise<void> {
    soundAt.delete(layer.diffId);
    damaged.set(layer.diffId, differences[0] ?? '');
    await writeFile(damageMarkPath(layer.path), differences.join('\n'), { mode: 0o600 }).catch(() => {});
    const users = await deps.usersOf(layer.diffId).catch(() => []);
    log.warn(
      { layer: layer.diffId, path: layer.path, differences, snapshots: users },
      'the files of a layer are damaged',
    );
  }

  /** One after the other: nobody waits for these. */
  function inBackground(layer: Layer, work: (layer: Layer) => Promise<void>): void {
    const { diffId } = layer;
    if (closed.signal.aborted || later.has(diffId)) return;
    const begin = () => {
      background = background.then(async () => {
        try {
          // It may have gone meanwhile.
          if (!closed.signal.aborted && (await store.list()).some((each) => each.path === layer.path))
            await work(layer);
        } catch (error) {
          if (!closed.signal.aborted)
            log.warn({ layer: diffId, err: error }, 'the files of a layer could not be looked at');
        } finally {
          later.delete(diffId);
        }
      });
    };
    later.set(diffId, setTimeout(begin, RECORD_AFTER_MS).unref());
  }

  const quietly = { contents: true, background: true, signal: closed.signal };
  const record = async (layer: Layer) => {
    // One on a disk is mounted by that.
    if (layer.onDisk === true) await store.get(layer.diffId);
    await verifier.recordLayer(layer.path, quietly);
  };

  async function compareContents(layer: Layer): Promise<void> {
    const path = treeRecordPath(layer.path);
    if (Date.now() - (await stat(path)).mtimeMs < CONTENTS_EVERY_MS) return;
    // It may have waited long.
    if (layer.onDisk === true) await store.get(layer.diffId);
    const verdict = await verifier.verifyLayer(layer.path, quietly);
    if (verdict.kind === 'damaged') await noteDamage(layer, verdict.differences);
    else await utimes(path, new Date(), new Date());
  }

  async function isSound(layer: Layer, signal: AbortSignal): Promise<boolean> {
    const { diffId } = layer;
    if (damaged.has(diffId)) return false;
    const at = soundAt.get(diffId);
    if (at !== undefined && now() - at < FRESH_MS) return true;
    const look = (shared: AbortSignal) => verifier.verifyLayer(layer.path, { contents: false, signal: shared });
    const verdict = await looks.join(diffId, look, { signal, onReport: () => {} });
    if (verdict.kind === 'damaged') {
      await noteDamage(layer, verdict.differences);
      return false;
    }
    soundAt.set(diffId, now());
    inBackground(layer, verdict.kind === 'unrecorded' ? record : compareContents);
    return true;
  }

  async function fetchAgain(diffId: string, signal: AbortSignal): Promise<boolean> {
    try {
      return await deps.fetchAgain(diffId, signal);
    } catch (error) {
      log.warn({ layer: diffId, err: error }, 'a damaged layer could not be fetched again');
      return false;
    }
  }

  /**
   * One call at a time comes here, and takes all of its layers out before it fetches: what is fetched for one is an image that may have
   * the others too, and must neither meet them damaged nor lose them half-way.
   */
  async function repair(diffIds: readonly string[], signal: AbortSignal): Promise<void> {
    const taken: { diffId: string; why: string; putBack: () => Promise<void> }[] = [];
    for (const diffId of diffIds) {
      const why = damaged.get(diffId);
      // Another call may have repaired it by now.
      const aside = why === undefined ? undefined : await store.setAside(diffId);
      if (why === undefined || aside === undefined) continue;
      damaged.delete(diffId);
      taken.push({ diffId, why, putBack: aside.putBack });
    }
    if (taken.length > 0) await failpoint('repair.set-aside');
    for (const { diffId, why, putBack } of taken) {
      const isThere = async () => (await store.get(diffId)) !== undefined;
      if ((await isThere()) || (await fetchAgain(diffId, signal)) || (await isThere())) {
        await failpoint('repair.fetched');
        log.warn({ layer: diffId }, 'a damaged layer was fetched again');
        continue;
      }
      // A damaged layer is better for those that have it than none.
      damaged.set(diffId, why);
      await failpoint('repair.lost');
      await putBack();
    }
  }

  function repairInTurn(diffIds: readonly string[], signal: AbortSignal): Promise<void> {
    const turn = lastRepair.then(() => repair(diffIds, signal));
    lastRepair = turn.catch(() => {});
    return abortable(turn, signal);
  }

  // Of a predecessor that was killed before it came to them.
  for (const layer of await store.list()) if (!existsSync(treeRecordPath(layer.path))) inBackground(layer, record);

  return {
    verifyLayer: verifier.verifyLayer,
    isDamaged: (diffId) => damaged.has(diffId),
    async noteDamaged(diffId, differences) {
      const layer = (await store.list()).find((each) => each.diffId === diffId);
      if (layer !== undefined) await noteDamage(layer, differences);
    },
    async noteSound(diffId) {
      const layer = (await store.list()).find((each) => each.diffId === diffId);
      if (layer === undefined) return;
      await rm(damageMarkPath(layer.path), { force: true });
      damaged.delete(diffId);
    },
    async refetch(diffIds, signal) {
      await repairInTurn(diffIds, signal);
      return diffIds.filter((diffId) => damaged.has(diffId));
    },
    async ensureSound(diffIds, signal) {
      const looked = await Promise.all(
        diffIds.map(async (diffId) => {
          const layer = await store.get(diffId);
          return layer === undefined || (await isSound(layer, signal)) ? [] : [diffId];
        }),
      );
      const unsound = looked.flat();
      const pulled = unsound.filter((diffId) => !diffId.startsWith(BUILT));
      if (pulled.length > 0) await repairInTurn(pulled, signal);
      const lost = unsound
        .filter((diffId) => damaged.has(diffId))
        .map((diffId) => `${diffId.slice(0, 19)}… (${damaged.get(diffId) ?? ''})`);
      signal.throwIfAborted();
      if (lost.length === 0) return;
      throw new DarkroomError('unavailable', `layers that this builds on are damaged on the disk: ${lost.join(', ')}`, {
        hint: 'Build again: steps whose layers are damaged run anew. If it happens again, look at the disk of the server.',
        retryable: true,
      });
    },
    watch: (watched) => ({
      ...watched,
      async add(diffId, fill, fillSignal) {
        let isNew = false;
        const noted: typeof fill = async (directory, within) => {
          const filled = await fill(directory, within);
          isNew = true;
          return filled;
        };
        const layer = await watched.add(diffId, noted, fillSignal);
        if (isNew) {
          damaged.delete(diffId);
          soundAt.set(diffId, now());
          // What is unpacked is recorded by that; not every layer is.
          if (!existsSync(treeRecordPath(layer.path))) inBackground(layer, record);
        }
        return layer;
      },
      async make(fill) {
        const layer = await watched.make(fill);
        if (layer === undefined) return undefined;
        soundAt.set(layer.diffId, now());
        inBackground(layer, record);
        return layer;
      },
      async makeFromDisk(image, root) {
        const layer = await watched.makeFromDisk(image, root);
        soundAt.set(layer.diffId, now());
        inBackground(layer, record);
        return layer;
      },
    }),
    async close() {
      closed.abort(new DarkroomError('unavailable', 'the server is shutting down', { retryable: true }));
      for (const timer of later.values()) clearTimeout(timer);
      await verifier.close();
      await background.catch(messageOf);
    },
  };
}
