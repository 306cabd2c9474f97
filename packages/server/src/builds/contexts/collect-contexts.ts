import type { Collector, GarbageItem } from '../../garbage/collector.ts';
import type { ContextStore, UnusedUpload } from './context-store.ts';

const DAY_MS = 24 * 60 * 60_000;

/** Uploads that no build and no client asks for any more. */
export function createContextCollector(
  contexts: Pick<ContextStore, 'listUnused' | 'sweep'>,
  { unusedContextDays }: { unusedContextDays: number },
): Collector {
  const bounds = (now: number) => [new Date(now), new Date(now - unusedContextDays * DAY_MS)] as const;
  return {
    plan: async () => (await contexts.listUnused(...bounds(Date.now()))).map(itemOf),
    // Grown old over days: no grace would change anything.
    collect: async () => (await contexts.sweep(...bounds(Date.now()))).map(itemOf),
  };
}

const itemOf = ({ kind, id, organizationId, size, since }: UnusedUpload): GarbageItem => ({
  kind,
  id,
  organizationId,
  sizeBytes: size,
  goes: 'sweep',
  why:
    kind === 'upload'
      ? `it was not completed, and nobody has added to it since ${since.toISOString()}`
      : `no build and no client asked for it since ${since.toISOString()}`,
});
