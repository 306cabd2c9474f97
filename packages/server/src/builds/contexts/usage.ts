import { LRUCache } from 'lru-cache';
import type { ContextStore, StoredContext } from './context-store.ts';

/** What an organization has and is about to have, in bytes. */
export interface Usage {
  /** From here on the bytes count, until they are given back. Raises what `refuse` makes when they are too many. */
  reserve(organizationId: string, bytes: number): Promise<void>;
  giveBack(organizationId: string, bytes: number): void;
  /** One context has another size than before. */
  changed(organizationId: string, difference: number): void;
  lookAgain(): void;
}

export interface UsageOptions {
  maxBytes: number;
  refuse: () => Error;
}

/** What was used within a day may belong to a build that waits or runs, and never makes way for another. */
const KEPT_MS = 24 * 3600_000;
/** How long the sum of what an organization has is believed without a new look. */
const SUM_MS = 10 * 60_000;
const MAX_ORGANIZATIONS = 10_000;

/** Where an organization has too much, what was not used for the longest time makes way. */
export function createUsage(store: Pick<ContextStore, 'list' | 'remove'>, options: UsageOptions): Usage {
  const sums = new LRUCache<string, number>({ max: MAX_ORGANIZATIONS, ttl: SUM_MS });
  /** Promised to uploads and not in the sum. */
  const pending = new Map<string, number>();

  async function sumOf(organizationId: string): Promise<number> {
    const sum = (await store.list(organizationId)).reduce((total, stored) => total + costOf(stored), 0);
    sums.set(organizationId, sum);
    return sum;
  }

  async function makeRoom(organizationId: string, bytes: number): Promise<void> {
    const usedBefore = Date.now() - KEPT_MS;
    const old = (await store.list(organizationId))
      .filter(({ usedAt }) => usedAt.getTime() < usedBefore)
      .sort((a, b) => a.usedAt.getTime() - b.usedAt.getTime());
    let freed = 0;
    for (const stored of old) {
      if (freed >= bytes) break;
      await store.remove(stored);
      freed += costOf(stored);
    }
    sums.delete(organizationId);
  }

  function add(organizationId: string, bytes: number): void {
    const sum = (pending.get(organizationId) ?? 0) + bytes;
    if (sum > 0) pending.set(organizationId, sum);
    else pending.delete(organizationId);
  }

  return {
    async reserve(organizationId, bytes) {
      for (const isLast of [false, true]) {
        const sum = sums.get(organizationId) ?? (await sumOf(organizationId));
        // Nothing is waited for between this look and the promise.
        const excess = sum + (pending.get(organizationId) ?? 0) + bytes - options.maxBytes;
        if (excess <= 0) return add(organizationId, bytes);
        if (isLast) throw options.refuse();
        await makeRoom(organizationId, excess);
      }
    },
    giveBack: (organizationId, bytes) => add(organizationId, -bytes),
    changed(organizationId, difference) {
      const sum = sums.get(organizationId);
      if (sum !== undefined) sums.set(organizationId, sum + difference);
    },
    lookAgain: () => sums.clear(),
  };
}

/** Many small ones take room too: in directories, and in the time that looking through them takes. */
const BASE_BYTES = 64 * 1024;
export const costOf = (stored: Pick<StoredContext, 'size'> | undefined) =>
  stored === undefined ? 0 : stored.size + BASE_BYTES;
