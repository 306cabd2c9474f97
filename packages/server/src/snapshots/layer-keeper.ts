import type { LayerStore } from '../images/types.ts';

/** A layer that nothing needs any more stays this long: whoever read that it is there has ended by then. */
const GRACE_MS = 60_000;

export interface LayerKeeper extends Omit<LayerStore, 'sweep'> {
  /**
   * Until the returned hold is disposed, no layer that anyone gets or adds through the keeper is removed. Taken around
   * whatever reads layers first and writes a row that needs them later.
   */
  hold(): Disposable;
  /** Whether a hold that is in place protects the layer. */
  isHeld(diffId: string): boolean;
  hasAll(diffIds: readonly string[]): Promise<boolean>;
  /** Removes layers that `reachable` does not name, that no hold protects, and whose grace is over. Returns the freed diffIDs. */
  sweep(reachable: () => Promise<ReadonlySet<string>>, options?: { graceMs?: number }): Promise<string[]>;
}

/**
 * A layer store whose layers cannot be taken from under those who are about to need them. Everything of this runner that
 * gets, adds or sweeps goes through one keeper.
 */
export function createLayerKeeper(store: LayerStore, now: () => number = () => performance.now()): LayerKeeper {
  /** When each layer was last got, added, or found reachable. */
  const neededAt = new Map<string, number>();
  /** Of these the times by someone's hand: only they concern a hold. */
  const usedAt = new Map<string, number>();
  const holds = new Map<symbol, number>();
  const startedAt = now();

  // What this process has not seen yet counts from its start: a predecessor may have just handed it out.
  const isNeededSince = (diffId: string, since: number) => (neededAt.get(diffId) ?? startedAt) >= since;
  const isUsedSince = (diffId: string, since: number) => (usedAt.get(diffId) ?? startedAt) >= since;

  // Noted before the store is asked: a sweep that looks afterwards keeps the layer, one that looked before has removed it.
  const touch = (diffId: string) => {
    const time = now();
    neededAt.set(diffId, time);
    usedAt.set(diffId, time);
  };
  const get: LayerStore['get'] = (diffId) => {
    touch(diffId);
    return store.get(diffId);
  };

  return {
    root: store.root,
    get,
    async add(diffId, fill, signal) {
      touch(diffId);
      const layer = await store.add(diffId, fill, signal);
      touch(diffId);
      return layer;
    },
    async make(fill) {
      const layer = await store.make(fill);
      if (layer !== undefined) touch(layer.diffId);
      return layer;
    },
    async makeFromDisk(image, root) {
      const layer = await store.makeFromDisk(image, root);
      touch(layer.diffId);
      return layer;
    },
    sync: () => store.sync(),
    list: () => store.list(),
    hold() {
      const key = Symbol('hold');
      holds.set(key, now());
      return { [Symbol.dispose]: () => void holds.delete(key) };
    },
    isHeld: (diffId) => holds.size > 0 && isUsedSince(diffId, Math.min(...holds.values())),
    async hasAll(diffIds) {
      for (const diffId of diffIds) if ((await get(diffId)) === undefined) return false;
      return true;
    },
    async sweep(reachable, { graceMs = GRACE_MS } = {}) {
      // Noted before the rows are read: a hold that ends during the sweep has written a row that `reachable` may not have seen.
      const heldSince = Math.min(now(), ...holds.values());
      const needed = await reachable();
      for (const diffId of needed) neededAt.set(diffId, now());
      const isProtected = (diffId: string) => isNeededSince(diffId, now() - graceMs) || isUsedSince(diffId, heldSince);
      const freed = await store.sweep(new KeptLayers(needed, isProtected));
      const present = new Set((await store.list()).map(({ diffId }) => diffId));
      // Also what was asked for and never came.
      for (const diffId of neededAt.keys()) {
        if (present.has(diffId) || isProtected(diffId)) continue;
        neededAt.delete(diffId);
        usedAt.delete(diffId);
      }
      return freed;
    },
  };
}

/** Asked for each layer at the moment of its removal, because a sweep takes long and layers are wanted meanwhile. */
class KeptLayers extends Set<string> {
  readonly #isProtected: (diffId: string) => boolean;

  constructor(needed: ReadonlySet<string>, isProtected: (diffId: string) => boolean) {
    super(needed);
    this.#isProtected = isProtected;
  }

  override has(diffId: string): boolean {
    return super.has(diffId) || this.#isProtected(diffId);
  }
}
