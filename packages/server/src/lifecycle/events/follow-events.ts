import type { Kysely } from 'kysely';
import type { Database } from '../../platform/db/schema.ts';
import type { EventBus } from '../../platform/events.ts';
import type { EventCursor } from './cursor.ts';
import { type LifecycleEvent, readEvents } from './read-events.ts';

export interface FollowDeps {
  db: Kysely<Database>;
  events: Pick<EventBus, 'subscribe'>;
}

export interface FollowOptions {
  organizationId: string;
  after: EventCursor;
  signal: AbortSignal;
}

/** Less than what proxies wait for; and how late an event is at most whose message got lost. */
const QUIET_MS = 10_000;
/** When only an older transaction that is open keeps events back: at first, and where it stays open for long. */
const HELD_BACK_MS = 50;
const HELD_BACK_MAX_MS = 1_000;
const PAGE = 200;

/** The events of an organization behind a place, then each as it comes; `undefined` when nothing has happened for a while. Ends with the signal. */
export async function* followEvents(
  { db, events }: FollowDeps,
  { organizationId, after, signal }: FollowOptions,
): AsyncGenerator<LifecycleEvent | undefined> {
  let changed = Promise.withResolvers<void>();
  const stop = events.subscribe((change) => {
    if (change.organizationId === organizationId) changed.resolve();
  });
  const onAbort = () => changed.resolve();
  signal.addEventListener('abort', onAbort);
  let place = after;
  let heldBackMs = HELD_BACK_MS;
  let toldAt = performance.now();
  try {
    while (!signal.aborted) {
      // Before the look, so that no change falls between it and the wait.
      changed = Promise.withResolvers<void>();
      const { events: found, isHeldBack } = await readEvents(db, organizationId, place, PAGE);
      for (const event of found) {
        if (signal.aborted) return;
        yield event;
        place = event.cursor;
        toldAt = performance.now();
      }
      if (found.length > 0 || !isHeldBack) heldBackMs = HELD_BACK_MS;
      if (found.length > 0 || signal.aborted) continue;
      const isQuiet = await passed(changed.promise, isHeldBack ? heldBackMs : QUIET_MS);
      if (isHeldBack) heldBackMs = Math.min(HELD_BACK_MAX_MS, heldBackMs * 2);
      if (!isQuiet || (isHeldBack && performance.now() - toldAt < QUIET_MS)) continue;
      yield undefined;
      toldAt = performance.now();
    }
  } finally {
    stop();
    signal.removeEventListener('abort', onAbort);
  }
}

/** Whether the time passed before the promise was kept. */
async function passed(promise: Promise<void>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const time = new Promise<true>((resolve) => {
    timer = setTimeout(resolve, ms, true);
  });
  try {
    return await Promise.race([promise.then(() => false), time]);
  } finally {
    clearTimeout(timer);
  }
}
