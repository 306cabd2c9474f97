import { DarkroomError, messageOf } from '../../platform/errors.ts';
import type { ExitWatcher } from '../../platform/exit-watcher.ts';
import type { AddressBlocks } from './address-blocks.ts';
import type { AddressBlock, AddressPlan } from './address-plan.ts';
import { makeNamespaces, type NamespaceSettings, type ReadyNamespaces, unpin } from './make-namespaces.ts';
import type { NetworkLog } from './network-log.ts';

export interface NamespaceStockOptions extends NamespaceSettings {
  plan: AddressPlan;
  blocks: AddressBlocks;
  ready: number;
  log: NetworkLog;
}

export interface NamespaceStock {
  /** Begins to fill. The watcher must live until `close` has resolved. */
  start(watcher: ExitWatcher): void;
  take(signal?: AbortSignal): Promise<ReadyNamespaces>;
  /** There is room for more again. */
  blocksFreed(): void;
  close(): Promise<void>;
}

interface Waiter {
  resolve(namespaces: ReadyNamespaces): void;
  reject(error: Error): void;
}

// Making a hundred takes half a second; the rest is for a machine that is busy.
const TAKE_TIMEOUT_MS = 30_000;
// One batch costs some 20 ms and then 3 ms for each in it. Two at a time, because half of that is waiting for the kernel.
const BATCH_SIZE = 24;
const BATCHES_AT_ONCE = 2;
// When nobody waits: little at a time and with low priority, so that a start does not get slower by the refill of the one before.
const REFILL_SIZE = 4;
// Above half, refilling waits until takes have stopped for a moment.
const QUIET_MS = 100;
// After a failure, and while the interfaces of ended sandboxes go away.
const RETRY_MS = 1_000;
const BUSY_BLOCKS_RETRY_MS = 20;
const FAILURES_BEFORE_GIVING_UP = 3;

/** Keeps `ready` pairs of namespaces in stock; makes more at once when somebody waits. */
export function createNamespaceStock(options: NamespaceStockOptions): NamespaceStock {
  const { blocks, log } = options;
  const ready: ReadyNamespaces[] = [];
  const waiters = new Set<Waiter>();
  const batches = new Set<Promise<void>>();
  let making = 0;
  let failures = 0;
  let watcher: ExitWatcher | undefined;
  let timer: NodeJS.Timeout | undefined;

  function fillSoon(afterMs: number) {
    clearTimeout(timer);
    if (!watcher) return;
    timer = setTimeout(fill, afterMs);
    timer.unref();
  }

  function fill() {
    const urgent = waiters.size > 0;
    const [size, atOnce] = urgent ? [BATCH_SIZE, BATCHES_AT_ONCE] : [REFILL_SIZE, 1];
    while (watcher && batches.size < atOnce) {
      const missing = (urgent ? waiters.size : options.ready - ready.length) - making;
      if (missing <= 0) return;
      const reserved = blocks.reserve(Math.min(missing, size));
      if (reserved.length === 0) return noBlocks();
      const batch = make(reserved, { urgent, watcher }).finally(() => {
        batches.delete(batch);
        fillSoon(nextFillMs());
      });
      batches.add(batch);
    }
  }

  function nextFillMs(): number {
    if (failures > 0) return RETRY_MS;
    return waiters.size > 0 || ready.length < options.ready / 2 ? 0 : QUIET_MS;
  }

  function noBlocks() {
    if (!blocks.allUsed) return fillSoon(BUSY_BLOCKS_RETRY_MS);
    // What is being made now still goes to those who wait first.
    const unlucky = [...waiters].slice(making);
    for (const waiter of unlucky) waiter.reject(exhausted(options.plan));
  }

  async function make(reserved: AddressBlock[], how: { urgent: boolean; watcher: ExitWatcher }): Promise<void> {
    making += reserved.length;
    try {
      const made = await makeNamespaces(reserved, { ...options, ...how });
      const complete = new Set(made.map((namespaces) => namespaces.index));
      for (const block of reserved) if (!complete.has(block.index)) blocks.free(block.index);
      failures = 0;
      for (const namespaces of made) handOut(namespaces);
    } catch (error) {
      for (const block of reserved) blocks.free(block.index);
      failed(error instanceof Error ? error : new Error(messageOf(error)));
    } finally {
      making -= reserved.length;
    }
  }

  function failed(error: Error) {
    failures += 1;
    log.error({ reason: messageOf(error), failures }, 'ready network namespaces could not be made');
    if (failures < FAILURES_BEFORE_GIVING_UP) return;
    for (const waiter of [...waiters]) waiter.reject(error);
  }

  function handOut(namespaces: ReadyNamespaces) {
    const [waiter] = waiters;
    if (waiter) waiter.resolve(namespaces);
    else if (watcher) ready.push(namespaces);
    else discard(namespaces);
  }

  function discard(namespaces: ReadyNamespaces) {
    unpin(namespaces);
    blocks.free(namespaces.index);
  }

  function wait(signal: AbortSignal | undefined): Promise<ReadyNamespaces> {
    return new Promise((resolve, reject) => {
      const limit = setTimeout(() => waiter.reject(tooSlow()), TAKE_TIMEOUT_MS);
      const abort = () =>
        waiter.reject(new DarkroomError('unavailable', 'no longer wanted', { cause: signal?.reason }));
      const settle = () => {
        clearTimeout(limit);
        signal?.removeEventListener('abort', abort);
        waiters.delete(waiter);
      };
      const waiter: Waiter = {
        resolve(namespaces) {
          settle();
          resolve(namespaces);
        },
        reject(error) {
          settle();
          reject(error);
        },
      };
      waiters.add(waiter);
      signal?.addEventListener('abort', abort);
      // Not at once: those who ask in the same moment go into the same batch.
      if (batches.size < BATCHES_AT_ONCE) fillSoon(0);
    });
  }

  return {
    start(endsWatcher) {
      watcher = endsWatcher;
      fill();
    },
    async take(signal) {
      signal?.throwIfAborted();
      if (!watcher) throw stopping();
      const namespaces = ready.shift();
      if (namespaces === undefined) return wait(signal);
      fillSoon(nextFillMs());
      return namespaces;
    },
    blocksFreed() {
      fillSoon(nextFillMs());
    },
    async close() {
      watcher = undefined;
      clearTimeout(timer);
      for (const waiter of [...waiters]) {
        waiter.reject(stopping());
      }
      await Promise.all(batches);
      for (const namespaces of ready.splice(0)) discard(namespaces);
    },
  };
}

function exhausted(plan: AddressPlan): DarkroomError {
  return new DarkroomError(
    'unavailable',
    `no sandbox address is free: all ${plan.size} blocks of ${plan.cidr} are in use`,
    {
      hint: 'Set network.cidr to a larger range, or stop sandboxes that are no longer needed.',
      retryable: true,
    },
  );
}

function tooSlow(): DarkroomError {
  return new DarkroomError('unavailable', `no network namespace could be made within ${TAKE_TIMEOUT_MS / 1000} s`, {
    hint: 'The machine is busy; `darkroom doctor` says whether something else is wrong.',
    retryable: true,
  });
}

function stopping(): DarkroomError {
  return new DarkroomError('unavailable', 'the server is stopping', { retryable: true });
}
