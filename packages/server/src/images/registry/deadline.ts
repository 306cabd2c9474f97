import { RegistryFailure } from './failure.ts';

/** Runs with a signal that also ends after `ms`; that end is a failure of kind `timeout`. */
export async function withDeadline<T>(
  what: string,
  ms: number,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = AbortSignal.timeout(ms);
  try {
    return await run(AbortSignal.any([signal, deadline]));
  } catch (error) {
    signal.throwIfAborted();
    if (deadline.aborted) throw new RegistryFailure('timeout', `${what}: not answered in ${ms} ms`, { cause: error });
    throw error;
  }
}

/** The promise, or the signal's reason if that comes first. The work itself goes on for others who wait for it. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => {});
    return Promise.reject(signal.reason);
  }
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
