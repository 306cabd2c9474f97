import type { Layer, LayerStore, SweepOptions } from '../images/types.ts';

export interface LayerKeeper extends Omit<LayerStore, 'sweep'> {
  /**
   * Until the returned hold is disposed, no layer that anyone gets or adds through the keeper is removed. Taken around
   * whatever reads layers first and writes a row that needs them later.
   */
  hold(): Disposable;
  /** Whether a hold that is in place protects the layer. */
  isHeld(diffId: string): boolean;
  hasAll(diffIds: readonly string[]): Promise<boolean>;
  /** How long the oldest hold that is in place has lasted, in milliseconds; undefined without one. */
  heldForMs(): number | undefined;
  /**
   * Removes what `findGarbage` chooses of the layers that no hold protects. One that is got or added meanwhile, or under a hold that was in place
   * when the sweep began, stays all the same. Returns what went.
   */
  sweep(
    findGarbage: (stored: readonly Layer[]) => Promise<ReadonlySet<string>>,
    options?: SweepOptions,
  ): Promise<Layer[]>;
}

/**
 * A layer store whose layers cannot be taken from under those who are about to need them. Everything of this runner that
 * gets, adds or sweeps goes through one keeper.
 */
export function createLayerKeeper(store: LayerStore, now: () => number = () => performance.now()): LayerKeeper {
  /** When each layer was last got or added. */
  const usedAt = new Map<string, number>();
  const holds = new Map<symbol, number>();
  const startedAt = now();
  /** What a predecessor has left. */
  let found: ReadonlySet<string> = new Set();
  const foundAtStart = store.list().then((layers) => {
    found = new Set(layers.map(({ diffId }) => diffId));
  });
  let making = 0;

  // What is there and was never seen is being made just now and has no name for us yet, unless a predecessor made it.
  const isUsedSince = (diffId: string, since: number) => {
    const at = usedAt.get(diffId);
    if (at !== undefined) return at >= since;
    return (making > 0 && !found.has(diffId)) || startedAt >= since;
  };

  // Noted before the store is asked: a sweep that looks afterwards keeps the layer, one that looked before has removed it.
  const touch = (diffId: string) => void usedAt.set(diffId, now());
  const get: LayerStore['get'] = (diffId) => {
    touch(diffId);
    return store.get(diffId);
  };

  async function made<T extends Layer | undefined>(make: () => Promise<T>): Promise<T> {
    making++;
    try {
      const layer = await make();
      if (layer !== undefined) touch(layer.diffId);
      return layer;
    } finally {
      making--;
    }
  }

  return {
    root: store.root,
    get,
    async add(diffId, fill, signal) {
      touch(diffId);
      const layer = await store.add(diffId, fill, signal);
      touch(diffId);
      return layer;
    },
    make: (fill) => made(() => store.make(fill)),
    makeFromDisk: (image, root) => made(() => store.makeFromDisk(image, root)),
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
    heldForMs: () => (holds.size === 0 ? undefined : now() - Math.min(...holds.values())),
    async sweep(findGarbage, options) {
      await foundAtStart;
      // Noted before the rows are read: a hold that ends during the sweep has written a row that `findGarbage` may not have seen.
      const heldSince = Math.min(now(), ...holds.values());
      const isProtected = (diffId: string) => isUsedSince(diffId, heldSince);
      const stored = new Map((await store.list()).map((layer) => [layer.diffId, layer]));
      const garbage = await findGarbage([...stored.values()].filter(({ diffId }) => !isProtected(diffId)));
      const freed = await store.sweep(new KeptLayers(garbage, isProtected), options);
      for (const diffId of freed) usedAt.delete(diffId);
      // Also what was asked for and never came.
      for (const [diffId, at] of usedAt) if (!stored.has(diffId) && at < heldSince) usedAt.delete(diffId);
      return freed.flatMap((diffId) => stored.get(diffId) ?? []);
    },
  };
}

/** All but the garbage. Asked for each layer at the moment of its removal, because a sweep takes long and layers are wanted meanwhile. */
class KeptLayers extends Set<string> {
  readonly #isProtected: (diffId: string) => boolean;

  constructor(garbage: ReadonlySet<string>, isProtected: (diffId: string) => boolean) {
    super(garbage);
    this.#isProtected = isProtected;
  }

  override has(diffId: string): boolean {
    return !super.has(diffId) || this.#isProtected(diffId);
  }
}
