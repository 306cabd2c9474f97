import type { Kysely } from 'kysely';
import type { GarbageItem } from '../../garbage/collector.ts';
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
  /** What those two would take, and what a full disk would. */
  plan(bounds: { maxBytes: number; maxAgeDays: number }): Promise<GarbageItem[]>;
  /** All that an organization's builds have kept, or everybody's on this machine. */
  clear(organizationId: string | undefined): Promise<number>;
}

const LITTLE = 256 * 1024 * 1024;
const DAY_SECONDS = 24 * 60 * 60;

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
    const needed = await neededLayers(
      db,
      all.flatMap((entry) => entry.layers),
    );
    const stored = new Map((await layers.list()).map(({ diffId, sizeBytes }) => [diffId, sizeBytes]));
    const sizes = new Map<string, number>();
    for (const layer of all.flatMap((entry) => entry.layers)) {
      const size = stored.get(layer);
      if (size !== undefined && !needed.has(layer)) sizes.set(layer, size);
    }
    const entries = all.filter((entry) => entry.layers.some((layer) => sizes.has(layer)));
    return { entries, sizes, bytes: [...sizes.values()].reduce((sum, size) => sum + size, 0) };
  }

  /** Those used longest ago, until what is left is no more than this. */
  function choose({ entries, sizes, bytes }: Weighed, maxBytes: number): CacheEntry[] {
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
    return chosen;
  }

  const shrink = (weighed: Weighed, maxBytes: number) => rows.remove(choose(weighed, maxBytes));

  async function plan({ maxBytes, maxAgeDays }: { maxBytes: number; maxAgeDays: number }): Promise<GarbageItem[]> {
    const weighed = await weigh();
    const tooMuch = new Set(choose(weighed, maxBytes).map(nameOf));
    const oldest = Date.now() / 1000 - maxAgeDays * DAY_SECONDS;
    return (await rows.list()).flatMap((entry): GarbageItem[] => {
      const sizeBytes = entry.layers.reduce((sum, layer) => sum + (weighed.sizes.get(layer) ?? 0), 0);
      const isTooMuch = tooMuch.has(nameOf(entry));
      const isOld = entry.lastUsedAt < oldest;
      if (!isOld && !isTooMuch && sizeBytes === 0) return [];
      return [{ ...itemOf(entry), sizeBytes, ...verdict(entry, { isOld, isTooMuch, maxAgeDays }) }];
    });
  }

  return {
    bytes: async () => (await weigh()).bytes,
    shrinkTo: async (maxBytes) => shrink(await weigh(), maxBytes),
    async shrinkByHalf() {
      const weighed = await weigh();
      return shrink(weighed, weighed.bytes < LITTLE ? 0 : weighed.bytes / 2);
    },
    plan,
    forgetUnusedFor: (days) => rows.removeUnusedFor(days),
    clear: (organizationId) => (organizationId === undefined ? rows.removeAll() : rows.removeAllOf(organizationId)),
  };
}

const nameOf = ({ kind, organizationId, name }: CacheEntry) => `${kind} ${organizationId} ${name}`;

/** Where several rows have a layer, each is told with its size. */
const itemOf = ({ kind, name, organizationId }: CacheEntry) =>
  ({ kind: kind === 'step' ? 'build-cache' : 'base-image', id: name, organizationId }) as const;

function verdict(
  { lastUsedAt }: CacheEntry,
  { isOld, isTooMuch, maxAgeDays }: { isOld: boolean; isTooMuch: boolean; maxAgeDays: number },
): Pick<GarbageItem, 'goes' | 'why'> {
  const used = `used last at ${new Date(lastUsedAt * 1000).toISOString()}`;
  if (isOld) return { goes: 'sweep', why: `no build has used it for ${maxAgeDays} days: ${used}` };
  if (isTooMuch) return { goes: 'sweep', why: `the build cache has more than it may, and this was ${used}` };
  return { goes: 'pressure', why: `it may save a build a step: ${used}` };
}
