import { setTimeout as delay } from 'node:timers/promises';
import { databaseProblem } from './problems.ts';

const FIRST_MS = 200;
const MAX_MS = 10_000;
const MAX_ATTEMPTS = 40;

/** Tries again while the database is away: minutes of work are not thrown away for a moment without it. */
export async function persistently<T>(
  work: () => Promise<T>,
  signal: AbortSignal,
  maxAttempts: number = MAX_ATTEMPTS,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted || attempt === maxAttempts || databaseProblem(error) === undefined) throw error;
      await delay(Math.min(MAX_MS, FIRST_MS * 2 ** (attempt - 1)), undefined, { signal });
    }
  }
}
