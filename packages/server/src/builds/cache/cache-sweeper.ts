import type { Collector, GarbageItem } from '../../garbage/collector.ts';
import type { CacheBounds } from './cache-bounds.ts';
import type { OpenStepCache } from './create-step-cache.ts';

const PERIOD_MS = 60 * 60_000;
/** Builds that end one after another share a sweep. */
const DELAY_MS = 10_000;

export interface CacheSweeper extends Collector {
  /** A build has ended: looks soon whether the cache has become too large. */
  request(): void;
  /** Looks now. */
  sweep(): Promise<void>;
  /** Forgets all that an organization's builds have kept, or everybody's. Returns how many results that was. */
  clear(organizationId: string | undefined): Promise<number>;
  close(): Promise<void>;
}

export interface CacheSweeperDeps {
  cache: Pick<OpenStepCache, 'noteUses'>;
  bounds: CacheBounds;
  layerSweeper: { request(): void };
  settings: { maxBytes: number; maxAgeDays: number };
  log: { info(details: object, message: string): void; warn(details: object, message: string): void };
}

/** Keeps the build cache within its bounds. */
export function createCacheSweeper({ cache, bounds, layerSweeper, settings, log }: CacheSweeperDeps): CacheSweeper {
  async function sweep(): Promise<void> {
    // What was just used must not look old.
    await cache.noteUses();
    const old = await bounds.forgetUnusedFor(settings.maxAgeDays);
    const tooMany = await bounds.shrinkTo(settings.maxBytes);
    if (old + tooMany === 0) return;
    log.info({ unused: old, tooMany }, 'results left the build cache');
    layerSweeper.request();
  }

  let running: Promise<void> = Promise.resolve();
  const inBackground = () => {
    running = running
      .then(sweep)
      .catch((error: unknown) => log.warn({ err: error }, 'the build cache could not be swept'));
  };
  let soon: NodeJS.Timeout | undefined;
  const period = setInterval(inBackground, PERIOD_MS).unref();

  return {
    request() {
      soon ??= setTimeout(() => {
        soon = undefined;
        inBackground();
      }, DELAY_MS).unref();
    },
    sweep,
    plan: () => bounds.plan(settings),
    async collect() {
      const before = await bounds.plan(settings);
      await sweep();
      const left = new Set((await bounds.plan(settings)).filter(({ goes }) => goes === 'sweep').map(keyOf));
      return before.filter((item) => item.goes === 'sweep' && !left.has(keyOf(item)));
    },
    async clear(organizationId) {
      const removed = await bounds.clear(organizationId);
      if (removed > 0) layerSweeper.request();
      return removed;
    },
    async close() {
      clearInterval(period);
      clearTimeout(soon);
      await running;
    },
  };
}

const keyOf = ({ kind, id, organizationId }: GarbageItem) => `${kind} ${organizationId} ${id}`;
