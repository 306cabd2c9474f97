import { DarkroomError, errnoOf, messageOf } from '../platform/errors.ts';
import type { ProbeRow } from './probe-table.ts';

/** A healthy machine answers in a tenth of a second; this is for one that does not answer. */
export const CHECK_TIMEOUT_MS = 5000;

export type ProbeResult = Omit<ProbeRow, 'name'>;

export const ok = (found: string): ProbeResult => ({ status: 'ok', found });
export const warn = (found: string, advice: string): ProbeResult => ({ status: 'warn', found, advice });
export const fail = (found: string, advice: string): ProbeResult => ({ status: 'fail', found, advice });

export interface ProbeCheck {
  name: string;
  /** Tried only as root; without it the row says so. */
  needsRoot?: boolean;
  /** What to do when it raises. */
  advice: string;
  run: () => Promise<ProbeResult>;
}

/** Never raises, and answers within the time limit. */
export async function runCheck(check: ProbeCheck, isRoot: boolean): Promise<ProbeRow> {
  const { name, advice } = check;
  if (check.needsRoot === true && !isRoot) return { name, ...warn('not tried, it needs root', 'Run this with sudo.') };
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<ProbeResult>((resolve) => {
    timer = setTimeout(() => resolve(fail(`no answer within ${CHECK_TIMEOUT_MS / 1000} s`, advice)), CHECK_TIMEOUT_MS);
  });
  try {
    return { name, ...(await Promise.race([check.run(), tooLate])) };
  } catch (error) {
    return { name, ...fail(whatFailed(error), (error instanceof DarkroomError ? error.hint : undefined) ?? advice) };
  } finally {
    clearTimeout(timer);
  }
}

function whatFailed(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  if (errnoOf(cause) !== 'ENOENT' || !(cause instanceof Error) || !('path' in cause)) return messageOf(error);
  return `${cause.path} is not installed`;
}
