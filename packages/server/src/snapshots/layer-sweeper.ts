import type { Kysely } from 'kysely';
import type { CollectOptions, Collector, GarbageItem } from '../garbage/collector.ts';
import { forgetMarks, type Marked, remark } from '../garbage/marks.ts';
import type { Layer } from '../images/types.ts';
import type { Database } from '../platform/db/schema.ts';
import { failpoint } from '../platform/failpoints.ts';
import type { LayerKeeper } from './layer-keeper.ts';
import { planLayers } from './layer-plan.ts';
import { unreachableLayers } from './reachable-layers.ts';

/** The safety net; what frees layers asks for a sweep by itself. */
const PERIOD_MS = 10 * 60_000;
/** What is deleted one after another shares a sweep. */
const DELAY_MS = 5_000;
const LEAST_WAIT_MS = 1_000;

const NAMED_BY_NOTHING = 'no snapshot, sandbox or result of a build names it';

export interface LayerSweeper extends Collector {
  /** Something may have become unreachable: sweeps once, soon. */
  request(): void;
  /** Before `makeRoom` sweeps it asks for this: giving up some of what is reachable only because it may save work later. */
  shrinkFirst(shrink: () => Promise<unknown>): void;
  /** Sweeps now and without grace, because the disk is full. Returns how many layers went. */
  makeRoom(): Promise<number>;
  /** Ends a sweep that runs; the next server goes on with it. */
  close(): Promise<void>;
}

export interface LayerSweeperDeps {
  db: Kysely<Database>;
  layers: LayerKeeper;
  /** The machine whose layers these are. */
  runnerId: string;
  /** How long a layer stays that nothing needs. */
  graceSeconds: number;
  /** The disk fills up: nothing waits for its grace. */
  isPressed?: () => Promise<boolean>;
  onRemoved?: (items: readonly GarbageItem[]) => void;
  log: { info(details: object, message: string): void; warn(details: object, message: string): void };
}

export function createLayerSweeper(deps: LayerSweeperDeps): LayerSweeper {
  const { db, layers, log, runnerId, graceSeconds } = deps;
  const closing = new AbortController();
  let last: Promise<unknown> = Promise.resolve();
  let isClosed = false;
  /** Who waits for room does not wait for a sweep that takes its time: what that leaves goes with the next. */
  let urgent = 0;
  let gentle: AbortController | undefined;

  /** Both phases: what was marked in an earlier sweep and is still unneeded goes, what is found now is marked. */
  async function sweep({ withoutGrace, gently }: CollectOptions & { gently: boolean }): Promise<Layer[]> {
    const mark = { runnerId, kind: 'layer', graceSeconds: withoutGrace ? 0 : graceSeconds } as const;
    let waiting: Marked[] = [];
    const isGentle = gently && urgent === 0;
    const ended = new AbortController();
    gentle = isGentle ? ended : undefined;
    const freed = await layers.sweep(
      async (stored) => {
        const unreachable = await unreachableLayers(
          db,
          stored.map(({ diffId }) => diffId),
          runnerId,
        );
        await failpoint('gc.reachable-read');
        // What has come to need one since is seen by the next sweep; what takes a layer up now is protected by the keeper.
        const marked = await db.transaction().execute((trx) =>
          remark(
            trx,
            mark,
            unreachable.map((id) => ({ id, why: NAMED_BY_NOTHING })),
          ),
        );
        await failpoint('gc.marked');
        waiting = marked.filter(({ dueInMs }) => dueInMs > 0);
        return new Set(marked.filter(({ dueInMs }) => dueInMs <= 0).map(({ id }) => id));
      },
      { gently: isGentle, signal: AbortSignal.any([closing.signal, ended.signal]) },
    );
    await forgetMarks(
      db,
      mark,
      freed.map(({ diffId }) => diffId),
    );
    if (freed.length > 0) log.info({ layers: freed.length }, 'layers removed that nothing needs');
    deps.onRemoved?.(freed.map(itemOf));
    if (waiting.length > 0) wakeIn(Math.min(...waiting.map(({ dueInMs }) => dueInMs)));
    return freed;
  }

  /** One after the other. */
  function inTurn(options: CollectOptions & { gently: boolean }): Promise<Layer[]> {
    const turn = last.then(() => (isClosed ? [] : sweep(options)));
    last = turn.catch(() => {});
    if (options.gently) return turn;
    urgent++;
    gentle?.abort();
    return turn.finally(() => urgent--);
  }

  async function inBackground(): Promise<void> {
    try {
      const isPressed = (await deps.isPressed?.()) ?? false;
      await inTurn({ withoutGrace: isPressed, gently: !isPressed });
    } catch (error) {
      log.warn({ err: error }, 'layers could not be swept');
    }
  }
  const caches: (() => Promise<unknown>)[] = [];
  const period = setInterval(inBackground, PERIOD_MS).unref();
  let wakeAt = Number.POSITIVE_INFINITY;
  let alarm: NodeJS.Timeout | undefined;

  function wakeIn(ms: number): void {
    const wait = Math.max(ms, LEAST_WAIT_MS);
    if (isClosed || performance.now() + wait >= wakeAt) return;
    clearTimeout(alarm);
    wakeAt = performance.now() + wait;
    alarm = setTimeout(() => {
      wakeAt = Number.POSITIVE_INFINITY;
      void inBackground();
    }, wait).unref();
  }

  return {
    request: () => wakeIn(DELAY_MS),
    shrinkFirst: (shrink) => void caches.push(shrink),
    async makeRoom() {
      for (const shrink of caches) {
        await shrink().catch((error: unknown) => log.warn({ err: error }, 'a cache could not be made smaller'));
      }
      return (await inTurn({ withoutGrace: true, gently: false })).length;
    },
    plan: () => planLayers({ db, layers, runnerId, graceSeconds }),
    async collect(options) {
      const freed = await inTurn({ ...options, gently: false });
      return freed.map(itemOf);
    },
    async close() {
      isClosed = true;
      clearInterval(period);
      clearTimeout(alarm);
      closing.abort();
      await last;
    },
  };
}

const itemOf = ({ diffId, sizeBytes }: Layer): GarbageItem => ({
  kind: 'layer',
  id: diffId,
  sizeBytes,
  goes: 'sweep',
  why: NAMED_BY_NOTHING,
});
