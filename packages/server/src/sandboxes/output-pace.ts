import { setTimeout as delay } from 'node:timers/promises';

/** Waits until this many bytes more may be taken. */
export type Pace = (bytes: number) => Promise<void>;

export interface PaceClock {
  now(): number;
  wait(ms: number): Promise<unknown>;
}

const CLOCK: PaceClock = {
  now: () => performance.now(),
  wait: (ms) => delay(ms, undefined, { ref: false }),
};

/** So many bytes a second, and those of a second at once after a quiet time. */
export function createPace(bytesPerSecond: number, { now, wait }: PaceClock = CLOCK): Pace {
  let freeAt = Number.NEGATIVE_INFINITY;
  return async (bytes) => {
    const time = now();
    freeAt = Math.max(freeAt, time - 1000) + (bytes / bytesPerSecond) * 1000;
    if (freeAt > time) await wait(freeAt - time);
  };
}
