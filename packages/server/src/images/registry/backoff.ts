import { setTimeout as delay } from 'node:timers/promises';
import { RegistryFailure } from './failure.ts';
import type { RegistryLimits } from './limits.ts';

/** Whether the same request is worth another try at once: a refused connection or an unknown name is not. */
export function isWorthRetrying(failure: RegistryFailure, limits: RegistryLimits): boolean {
  if ((failure.retryAfterMs ?? 0) > limits.maxRetryAfterMs) return false;
  return failure.kind === 'rate_limited' || failure.kind === 'server' || failure.kind === 'interrupted';
}

/** Waits before try `attempt` (from 1): what the registry asked for, else exponentially longer, with jitter. */
export async function backOff(
  attempt: number,
  failure: RegistryFailure,
  limits: RegistryLimits,
  signal: AbortSignal,
): Promise<void> {
  const ceiling = Math.min(limits.maxBackoffMs, limits.backoffMs * 2 ** attempt);
  const jittered = ceiling * (0.5 + Math.random() / 2);
  try {
    await delay(Math.max(failure.retryAfterMs ?? 0, jittered), undefined, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

export async function withRetries<T>(
  attempts: number,
  limits: RegistryLimits,
  signal: AbortSignal,
  run: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await run();
    } catch (error) {
      if (!(error instanceof RegistryFailure) || attempt >= attempts || !isWorthRetrying(error, limits)) throw error;
      await backOff(attempt, error, limits, signal);
    }
  }
}
