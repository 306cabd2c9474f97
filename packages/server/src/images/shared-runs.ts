import { setTimeout as delay } from 'node:timers/promises';
import { abortable } from './registry/deadline.ts';

export interface SharedRunOptions<Report = number> {
  signal: AbortSignal;
  /** Called with each report of the run, also of one that another call began. */
  onReport: (value: Report) => void;
}

/** Work that calls asking for the same key at the same time share. */
export interface SharedRuns<T, Report = number> {
  /**
   * Joins the run of this key or begins one. It ends early only when nobody waits for it any more. When a run that another
   * call began fails, this call begins its own, since the other's credentials or limits may be why.
   */
  join(
    key: string,
    begin: (signal: AbortSignal, report: (value: Report) => void) => Promise<T>,
    options: SharedRunOptions<Report>,
  ): Promise<T>;
}

interface Run<T, Report> {
  promise: Promise<T>;
  controller: AbortController;
  waiters: Set<(value: Report) => void>;
  settled: boolean;
}

/** How long the last one to leave waits for a run to clean up behind itself. */
const CLEANUP_MS = 10_000;

export function createSharedRuns<T, Report = number>(): SharedRuns<T, Report> {
  const runs = new Map<string, Run<T, Report>>();

  function start(
    key: string,
    begin: (signal: AbortSignal, report: (value: Report) => void) => Promise<T>,
  ): Run<T, Report> {
    const controller = new AbortController();
    const waiters = new Set<(value: Report) => void>();
    const report = (value: Report) => {
      for (const waiter of waiters) waiter(value);
    };
    const run: Run<T, Report> = { promise: begin(controller.signal, report), controller, waiters, settled: false };
    const settle = () => {
      run.settled = true;
      if (runs.get(key) === run) runs.delete(key);
    };
    run.promise.then(settle, settle);
    runs.set(key, run);
    return run;
  }

  async function leave(
    key: string,
    run: Run<T, Report>,
    waiter: (value: Report) => void,
    reason: unknown,
  ): Promise<void> {
    run.waiters.delete(waiter);
    if (run.waiters.size > 0 || run.settled) return;
    // Out of the map first: a call that comes now must not join a run that is ending.
    if (runs.get(key) === run) runs.delete(key);
    run.controller.abort(reason);
    const enough = new AbortController();
    const ended = run.promise.then(
      () => {},
      () => {},
    );
    await Promise.race([ended, delay(CLEANUP_MS, undefined, { signal: enough.signal }).catch(() => {})]);
    enough.abort();
  }

  return {
    async join(key, begin, { signal, onReport }) {
      for (;;) {
        signal.throwIfAborted();
        const existing = runs.get(key);
        const run = existing ?? start(key, begin);
        const waiter = (value: Report) => onReport(value);
        run.waiters.add(waiter);
        try {
          return await abortable(run.promise, signal);
        } catch (error) {
          if (existing === undefined || signal.aborted) throw error;
        } finally {
          await leave(key, run, waiter, signal.reason);
        }
      }
    },
  };
}
