import { LRUCache } from 'lru-cache';

/** The limits that a request can count against, by the names that stand in the headers. */
export type RateLimitName = 'anonymous' | 'authenticated' | 'sandbox-create' | 'sandbox-lifecycle' | 'failed-auth';

export interface RateLimitState {
  limit: number;
  remaining: number;
  /** Seconds until the window is over. */
  resetSeconds: number;
  exceeded: boolean;
}

const WINDOW_MS = 60_000;
const MAX_SUBJECTS = 10_000;

/** Fixed windows of one minute in memory, for each limit and subject (an organization or an address). */
export class RateLimiter {
  readonly #limits: Readonly<Record<RateLimitName, number>>;
  readonly #now: () => number;
  readonly #windows = new LRUCache<string, { count: number; endsAt: number }>({ max: MAX_SUBJECTS });

  constructor(limits: Readonly<Record<RateLimitName, number>>, now: () => number = Date.now) {
    this.#limits = limits;
    this.#now = now;
  }

  hit(name: RateLimitName, subject: string): RateLimitState {
    const limit = this.#limits[name];
    const key = `${name} ${subject}`;
    const now = this.#now();
    let window = this.#windows.get(key);
    if (window === undefined || window.endsAt <= now) {
      window = { count: 0, endsAt: now + WINDOW_MS };
      this.#windows.set(key, window);
    }
    window.count++;
    return {
      limit,
      remaining: Math.max(0, limit - window.count),
      resetSeconds: Math.ceil((window.endsAt - now) / 1000),
      exceeded: window.count > limit,
    };
  }
}
