import type { Collector, GarbageItem } from '../../garbage/collector.ts';
import type { ContextTrees } from './context-trees.ts';

const WHY = 'unpacked uploads that no build reads just now';

/** Merged contexts that no build reads: the next one that names the same makes them again. */
export function createTreeCollector(trees: Pick<ContextTrees, 'list' | 'sweep'>, idleMs: number): Collector {
  const plan = (least: number) =>
    trees.list().map(({ key, sizeBytes, isHeld, usedAt }): GarbageItem => {
      const item = { kind: 'context-tree', id: key, sizeBytes } as const;
      if (isHeld) return { ...item, goes: 'held', why: 'a build reads it' };
      return { ...item, goes: Date.now() - usedAt >= least ? 'sweep' : 'grace', why: WHY };
    });
  return {
    plan: async () => plan(idleMs),
    async collect({ withoutGrace }) {
      const least = withoutGrace ? 0 : idleMs;
      const before = plan(least);
      await trees.sweep(least);
      const left = new Set(trees.list().map(({ key }) => key));
      return before.filter(({ id }) => !left.has(id));
    },
  };
}
