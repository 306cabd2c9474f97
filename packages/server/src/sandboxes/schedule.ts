import { messageOf } from '../platform/errors.ts';
import type { SandboxLog } from './types.ts';

/** setTimeout takes 31 bits; looking once a day at nothing costs nothing. */
const MAX_DELAY_MS = 24 * 60 * 60 * 1000;
/** After a failed look (the database is away), and between two looks when something stays due. */
const RETRY_MS = 10_000;
const LEAST_MS = 50;

export interface Schedule {
  /** Something may become due at this time. Cheap: only an earlier time than the known one changes anything. */
  consider(at: Date): void;
  close(): Promise<void>;
}

/**
 * One timer to the next moment at which something is due. `look` does what is due and answers in how many milliseconds the next is, from the
 * database, so that a restart or a missed call loses nothing.
 */
export function createSchedule(look: () => Promise<number | undefined>, log: SandboxLog): Schedule {
  // By the time that passes, not by the clock, which may be set.
  let dueAt = Number.POSITIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let looking: Promise<void> | undefined;
  let closed = false;

  function arm(ms: number): void {
    const at = performance.now() + ms;
    if (closed || at >= dueAt) return;
    dueAt = at;
    clearTimeout(timer);
    timer = setTimeout(fire, Math.min(MAX_DELAY_MS, Math.max(0, ms)));
    timer.unref();
  }

  function fire(): void {
    dueAt = Number.POSITIVE_INFINITY;
    const previous = looking ?? Promise.resolve();
    const mine: Promise<void> = previous
      .then(look)
      .then(
        (next) => {
          if (next !== undefined) arm(Math.max(next, LEAST_MS));
        },
        (error: unknown) => {
          log.error({ err: error }, `looking for sandboxes that are due: ${messageOf(error)}`);
          arm(RETRY_MS);
        },
      )
      .finally(() => {
        if (looking === mine) looking = undefined;
      });
    looking = mine;
  }

  return {
    consider: (at) => arm(at.getTime() - Date.now()),
    async close() {
      closed = true;
      clearTimeout(timer);
      await looking;
    },
  };
}
