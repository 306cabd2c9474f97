import { z } from 'zod';
import type { Listener } from './db/listener.ts';
import { DarkroomError } from './errors.ts';

/** The NOTIFY channel of changes of state. */
export const STATE_CHANNEL = 'darkroom_state';

/** A change of state, as waiters see it. Sent by the database (NOTIFY) at the commit of the change. */
export interface StateChange {
  subjectType: 'snapshot' | 'sandbox';
  subjectId: string;
  organizationId: string;
  from: string | null;
  to: string;
}

export interface EventBus {
  /** Calls back for each change, from this or another server process, within milliseconds of its commit. Returns the way to stop. */
  subscribe(listener: (change: StateChange) => void): () => void;
  /**
   * Resolves with the first non-undefined answer of `check`, which is asked at once and after each change of the subject
   * (also after a reconnect, when changes may have been missed). Raises `timeout` when the time is over.
   */
  waitFor<T>(
    subjectId: string,
    check: () => Promise<T | undefined>,
    options: { timeoutMs: number; signal?: AbortSignal },
  ): Promise<T>;
  close(): Promise<void>;
}

const stateMessage = z.tuple([
  z.enum(['snapshot', 'sandbox']),
  z.string(),
  z.string(),
  z.string().nullable(),
  z.string(),
]);

/** The event bus over the process's listening connection, which the caller closes after the bus. */
export async function createEventBus(listener: Listener): Promise<EventBus> {
  const listeners = new Set<(change: StateChange) => void>();
  const waiters = new Map<string, Set<() => void>>();

  const wake = (subjectId: string) => {
    for (const waiter of waiters.get(subjectId) ?? []) waiter();
  };
  const stop = await listener.listen(STATE_CHANNEL, {
    onMessage(payload) {
      // Anybody with a login may send to a channel; what is not ours is not worth ending the server for.
      const message = stateMessage.safeParse(parseJson(payload));
      if (!message.success) return;
      const [subjectType, subjectId, organizationId, from, to] = message.data;
      for (const each of listeners) each({ subjectType, subjectId, organizationId, from, to });
      wake(subjectId);
    },
    onReconnect() {
      for (const subjectId of waiters.keys()) wake(subjectId);
    },
  });
  const closed = new AbortController();

  return {
    subscribe(each) {
      listeners.add(each);
      return () => listeners.delete(each);
    },
    async waitFor<T>(
      subjectId: string,
      check: () => Promise<T | undefined>,
      options: { timeoutMs: number; signal?: AbortSignal },
    ): Promise<T> {
      // Changes are counted from before the first check, so that none falls between a check and the wait for the next.
      let changed = Promise.withResolvers<void>();
      const waiter = () => changed.resolve();
      const siblings = waiters.get(subjectId) ?? new Set();
      waiters.set(subjectId, siblings.add(waiter));
      const end = endOfWait([closed.signal, ...(options.signal ? [options.signal] : [])], options.timeoutMs);
      try {
        for (;;) {
          changed = Promise.withResolvers<void>();
          const answer = await Promise.race([check(), end.reached]);
          if (answer !== undefined) return answer;
          await Promise.race([changed.promise, end.reached]);
        }
      } finally {
        end.release();
        siblings.delete(waiter);
        if (siblings.size === 0 && waiters.get(subjectId) === siblings) waiters.delete(subjectId);
      }
    },
    async close() {
      stop();
      closed.abort(new DarkroomError('unavailable', 'the server is stopping', { retryable: true }));
    },
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A promise that only ever rejects: when the time is over, or when one of the signals fires. */
function endOfWait(signals: readonly AbortSignal[], timeoutMs: number) {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {});
  const timer = setTimeout(
    () => reject(new DarkroomError('timeout', `nothing happened within ${timeoutMs / 1000} s`, { retryable: true })),
    timeoutMs,
  );
  const any = AbortSignal.any([...signals]);
  const onAbort = () => reject(any.reason);
  if (any.aborted) onAbort();
  else any.addEventListener('abort', onAbort, { once: true });
  return {
    reached: promise,
    release() {
      clearTimeout(timer);
      any.removeEventListener('abort', onAbort);
    },
  };
}
