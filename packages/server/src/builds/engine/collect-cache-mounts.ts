import type { Collector, GarbageItem } from '../../garbage/collector.ts';
import type { CacheMounts } from './cache-mounts.ts';

/** Directories of cache mounts: those that are too much go when they are let go, and others only when the disk is full. */
export function createCacheMountCollector(mounts: Pick<CacheMounts, 'list' | 'makeRoom'>): Collector {
  return {
    async plan() {
      return (await mounts.list()).map(({ id, sizeBytes, isUsed, usedAt }): GarbageItem => {
        const item = { kind: 'cache-mount', id, sizeBytes } as const;
        if (isUsed) return { ...item, goes: 'held', why: 'a step of a build has it mounted' };
        return { ...item, goes: 'pressure', why: `it may save a build work: used last at ${usedAt.toISOString()}` };
      });
    },
    collect: async () => [],
  };
}
