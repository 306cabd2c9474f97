import { LRUCache } from 'lru-cache';

const WINDOW_MS = 60_000;
const MAX_ADDRESSES = 10_000;

/** Counts wrong tokens by address, in windows of a minute. */
export interface FailedLogins {
  note(address: string): void;
  isExceeded(address: string): boolean;
}

export function createFailedLogins(limit: number): FailedLogins {
  const counts = new LRUCache<string, number>({ max: MAX_ADDRESSES, ttl: WINDOW_MS, noUpdateTTL: true });
  return {
    note: (address) => void counts.set(address, (counts.get(address) ?? 0) + 1),
    isExceeded: (address) => (counts.get(address) ?? 0) >= limit,
  };
}
