import { DarkroomError } from '../../../platform/errors.ts';

/** Searching a tree. What was found until then is the answer. */
export const SEARCH_MS = 60_000;
/** Deleting or moving millions of files on a slow disk. */
export const LONG_CALL_MS = 30 * 60_000;

/** A signal with an end of its own. */
export interface Bounded extends Disposable {
  signal: AbortSignal;
  timedOut(): boolean;
}

export function boundedBy(signal: AbortSignal, ms: number): Bounded {
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(new DarkroomError('timeout', `this took longer than ${ms / 1000} seconds`));
  }, ms);
  return {
    signal: AbortSignal.any([signal, late.signal]),
    timedOut: () => late.signal.aborted,
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}
