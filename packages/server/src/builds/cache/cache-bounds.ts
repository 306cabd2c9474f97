import type { Kysely } from 'kysely';
import type { Database } from '../../platform/db/schema.ts';
import type { LayerKeeper } from '../../snapshots/layer-keeper.ts';
import { neededLayers } from '../../snapshots/reachable-layers.ts';
import { type CacheEntry, createCacheEntries } from './cache-entries.ts';

export interface CacheBounds {
  /** Bytes of layers that the cache alone keeps: what snapshots and sandboxes need would be there without it. */
  bytes(): Promise<number>;
  /**
   * Forgets what was used longest ago until `bytes` is no more than this. What running builds have got hold of stays. Returns how many
   * rows went; their layers go with the next sweep.
   */
  shrinkTo(maxBytes: number): Promise<number>;
  /** Because the disk is full: the half that was used longest ago, and what is left of little. */
  shrinkByHalf(): Promise<number>;
  forgetUnusedFor(days: number): Promise<number>;
  /** All that an organization's builds have kept. */
  clear(organizationId: string): Promise<number>;
}

const LITTLE = 256 * 1024 * 1024;

interface Weighed {
  /** Oldest use first; those of which something could be freed. */
  entries: CacheEntry[];
  sizes: ReadonlyMap<string, number>;
  bytes: number;
}

export function createCacheBounds(deps: {
  db: Kysely<Database>;
  layers: Pick<LayerKeeper, 'list' | 'isHeld'>;
  runnerId: string;
}): CacheBounds {
  const { db, layers, runnerId } = deps;
  const rows = createCacheEntries(db, runnerId);

  async function weigh(): Promise<Weighed> {
    const all = await rows.list();
    const needed = await neededLayers(db);
    const stored = new Map((await layers.list()).map(({ diffId, sizeBytes }) => [diffId, sizeBytes]));
    const sizes = new Map<string, number>();
    for (const layer of all.flatMap((entry) => entry.layers)) {
      const size = stored.get(layer);
      if (size !== undefined && !needed.has(layer)) sizes.set(layer, size);
    }
    const entries = all.filter((entry) => entry.layers.some((layer) => sizes.has(layer)));
    return { entries, sizes, bytes: [...sizes.values()].reduce((sum, size) => sum + size, 0) };
  }

  async function shrink({ entries, sizes, bytes }: Weighed, maxBytes: number): Promise<number> {
    const holders = new Map<string, number>();
    for (const layer of entries.flatMap((entry) => entry.layers)) holders.set(layer, (holders.get(layer) ?? 0) + 1);
    const chosen: CacheEntry[] = [];
    let left = bytes;
    for (const entry of entries) {
      if (left <= maxBytes) break;
      if (entry.layers.some((layer) => layers.isHeld(layer))) continue;
      chosen.push(entry);
      for (const layer of entry.layers) {
        const others = (holders.get(layer) ?? 1) - 1;
        holders.set(layer, others);
        if (others === 0) left -= sizes.get(layer) ?? 0;
      }
    }
    return rows.remove(chosen);
  }

  return {
    bytes: async () => (await weigh()).bytes,
    shrinkTo: async (maxBytes) => shrink(await weigh(), maxBytes),
    async shrinkByHalf() {
      const weighed = await weigh();
      return shrink(weighed, weighed.bytes < LITTLE ? 0 : weighed.bytes / 2);
    },
    forgetUnusedFor: (days) => rows.removeUnusedFor(days),
    clear: (organizationId) => rows.removeAllOf(organizationId),
  };
}
