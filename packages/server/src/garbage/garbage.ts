import { messageOf } from '../platform/errors.ts';
import type { CollectOptions, Collector, GarbageItem } from './collector.ts';

/** All that Darkroom keeps and may take away. Each kind is swept regularly by whoever keeps it; this is for looking, and for doing it now. */
export interface Garbage {
  /** What would go and why, largest first within what goes first. Takes nothing. */
  plan(): Promise<GarbageItem[]>;
  /** Takes it now. What could not be taken does not keep the rest from going. */
  collect(options: CollectOptions): Promise<Collected>;
}

export interface Collected {
  items: GarbageItem[];
  /** For people: what could not be swept. */
  failures: string[];
}

export interface GarbageDeps {
  /** By what they are of. In this order: what goes may free what later ones have. */
  collectors: Readonly<Record<string, Collector>>;
  onCollected?: (items: readonly GarbageItem[]) => void;
  log: { info(details: object, message: string): void; warn(details: object, message: string): void };
}

const ORDER = ['sweep', 'grace', 'pressure', 'held'];

export function createGarbage({ collectors, onCollected, log }: GarbageDeps): Garbage {
  let last: Promise<unknown> = Promise.resolve();

  async function collect(options: CollectOptions): Promise<Collected> {
    const collected: Collected = { items: [], failures: [] };
    for (const [what, collector] of Object.entries(collectors)) {
      try {
        collected.items.push(...(await collector.collect(options)));
      } catch (error) {
        log.warn({ err: error }, `${what} could not be swept`);
        collected.failures.push(`${what}: ${messageOf(error)}`);
      }
    }
    onCollected?.(collected.items);
    log.info({ items: collected.items.length, failures: collected.failures.length }, 'garbage was collected at once');
    return collected;
  }

  return {
    async plan() {
      const items = (await Promise.all(Object.values(collectors).map((collector) => collector.plan()))).flat();
      return items.sort(
        (a, b) => ORDER.indexOf(a.goes) - ORDER.indexOf(b.goes) || (b.sizeBytes ?? 0) - (a.sizeBytes ?? 0),
      );
    },
    collect(options) {
      // Who asks twice gets what is left.
      const turn = last.then(() => collect(options));
      last = turn.catch(() => {});
      return turn;
    },
  };
}
