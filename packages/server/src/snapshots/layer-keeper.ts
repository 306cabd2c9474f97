import type { Layer, LayerStore } from '../images/types.ts';

/** A layer that nothing needs any more stays this long: whoever read that it is there has ended by then. */
const GRACE_MS = 60_000;

export interface LayerKeeper extends Omit<LayerStore, 'sweep'> {
  /**
   * Until the returned hold is disposed, no layer that anyone gets or adds through the keeper is removed. Taken around
   * whatever reads layers first and writes a row that needs them later.
   */
  hold(): Disposable;
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
  const holds = new Map<symbol, number>();
  const startedAt = now();
  let sweeping: Promise<unknown> = Promise.resolve();

  const touch = (diffId: string) => neededAt.set(diffId, now());

  /** Touched before the look, so that a sweep which begins during it leaves the layer; after a sweep that is under way. */
  async function get(diffId: string): Promise<Layer | undefined> {
    await sweeping;
    touch(diffId);
    return store.get(diffId);
  }

  async function sweepNow(reachable: () => Promise<ReadonlySet<string>>, graceMs: number): Promise<string[]> {
    const keep = new Set(await reachable());
    for (const diffId of keep) touch(diffId);
    const protectedSince = Math.min(now() - graceMs, ...holds.values());
    for (const { diffId } of await store.list()) {
      // What this process has not seen yet counts from its start: a predecessor may have just handed it out.
      if ((neededAt.get(diffId) ?? startedAt) >= protectedSince) keep.add(diffId);
    }
    const freed = await store.sweep(keep);
    for (const diffId of freed) neededAt.delete(diffId);
    return freed;
  }

  return {
    root: store.root,
    get,
    async add(diffId, fill, signal) {
      await sweeping;
      touch(diffId);
      const layer = await store.add(diffId, fill, signal);
      touch(diffId);
      return layer;
    },
    list: () => store.list(),
    hold() {
      const key = Symbol('hold');
      holds.set(key, now());
      return { [Symbol.dispose]: () => void holds.delete(key) };
    },
    async hasAll(diffIds) {
      for (const diffId of diffIds) if ((await get(diffId)) === undefined) return false;
      return true;
    },
    sweep(reachable, options = {}) {
      const run = sweeping.then(() => sweepNow(reachable, options.graceMs ?? GRACE_MS));
      // Those who wait for the sweep care only that it is over.
      sweeping = run.catch(() => {});
      return run;
    },
  };
}
