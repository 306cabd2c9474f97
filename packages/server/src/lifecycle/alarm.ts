import type { BaseLogger } from 'pino';
import { messageOf } from '../platform/errors.ts';

/** Something that is due at times that the database knows. */
export interface Alarm {
  name: string;
  /** Milliseconds until it is due next (0 or less: now); undefined when nothing is. */
  next(): Promise<number | undefined>;
  /** Does what is due. Called again at once while something still is. */
  run(signal: AbortSignal): Promise<void>;
}

export interface RunningAlarm {
  /** Look again: something may be due sooner than was known. */
  wake(): void;
  /** Resolves when a run that is under way has ended. */
  close(): Promise<void>;
}

/**
 * The safety net: an alarm looks again after this time even if nobody told it to. A due time further away than this when
 * it is set needs no `wake`.
 */
export const SWEEP_MS = 30_000;

/** After a run that failed, or left what is due as it was. */
const RETRY_MS = 1_000;

/** Sleeps until the alarm is due, runs it, and so on. A failure is logged and tried again. */
export function startAlarm(alarm: Alarm, log: Pick<BaseLogger, 'error'>): RunningAlarm {
  const closing = new AbortController();
  let woken = Promise.withResolvers<void>();
  closing.signal.addEventListener('abort', () => woken.resolve());

  async function loop(): Promise<void> {
    let ranLast = false;
    while (!closing.signal.aborted) {
      woken = Promise.withResolvers<void>();
      let sleepMs: number;
      try {
        const due = await alarm.next();
        if (due !== undefined && due <= 0 && !ranLast) {
          await alarm.run(closing.signal);
          ranLast = true;
          continue;
        }
        sleepMs = due === undefined ? SWEEP_MS : Math.min(SWEEP_MS, due <= 0 ? RETRY_MS : due);
      } catch (error) {
        log.error({ err: error }, `${alarm.name}: ${messageOf(error)}`);
        sleepMs = RETRY_MS;
      }
      ranLast = false;
      if (!closing.signal.aborted) await sleep(sleepMs);
    }
  }

  async function sleep(ms: number): Promise<void> {
    // One millisecond more: timers may fire a moment early, and then nothing would be due yet.
    const timer = setTimeout(() => woken.resolve(), ms + 1);
    await woken.promise;
    clearTimeout(timer);
  }

  const running = loop();
  return {
    wake: () => woken.resolve(),
    async close() {
      closing.abort();
      await running;
    },
  };
}
