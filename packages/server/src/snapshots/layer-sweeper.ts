import type { Kysely } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import type { LayerKeeper } from './layer-keeper.ts';
import { reachableLayers } from './reachable-layers.ts';

/** The safety net; what frees layers asks for a sweep by itself. */
const PERIOD_MS = 10 * 60_000;
/** Longer than the grace of a layer, so that one request is enough. */
const DELAY_MS = 70_000;

export interface LayerSweeper {
  /** Something may have become unreachable: sweeps once, soon. */
  request(): void;
  /** Before `makeRoom` sweeps it asks for this: giving up some of what is reachable only because it may save work later. */
  shrinkFirst(shrink: () => Promise<unknown>): void;
  /** Sweeps now and without grace, because the disk is full. Returns how many layers went. */
  makeRoom(): Promise<number>;
  close(): Promise<void>;
}

export interface LayerSweeperDeps {
  db: Kysely<Database>;
  layers: LayerKeeper;
  log: { info(details: object, message: string): void; warn(details: object, message: string): void };
}

export function createLayerSweeper({ db, layers, log }: LayerSweeperDeps): LayerSweeper {
  const sweep = async (graceMs?: number) => {
    const freed = await layers.sweep(() => reachableLayers(db), graceMs === undefined ? {} : { graceMs });
    if (freed.length > 0) log.info({ layers: freed.length }, 'layers removed that nothing needs');
    return freed.length;
  };
  let running: Promise<void> = Promise.resolve();
  const inBackground = () => {
    running = sweep().then(
      () => undefined,
      (error: unknown) => log.warn({ err: error }, 'layers could not be swept'),
    );
  };
  const caches: (() => Promise<unknown>)[] = [];
  let soon: NodeJS.Timeout | undefined;
  const period = setInterval(inBackground, PERIOD_MS).unref();

  return {
    request() {
      soon ??= setTimeout(() => {
        soon = undefined;
        inBackground();
      }, DELAY_MS).unref();
    },
    shrinkFirst: (shrink) => void caches.push(shrink),
    async makeRoom() {
      for (const shrink of caches) {
        await shrink().catch((error: unknown) => log.warn({ err: error }, 'a cache could not be made smaller'));
      }
      return sweep(0);
    },
    async close() {
      clearInterval(period);
      clearTimeout(soon);
      await running;
    },
  };
}
