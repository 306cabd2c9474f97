import type { ErrorCode } from '@darkroom/contract/error-codes';
import { DarkroomError } from '../../platform/errors.ts';
import type { UnpackedLayer } from './types.ts';
import type { UnpackJob } from './unpack-layer.ts';

/** Main thread to worker. A worker has one job at a time; what belongs to an earlier one is dropped. */
export type ToWorker =
  | { kind: 'start'; id: number; job: UnpackJob; cancelled: SharedArrayBuffer }
  | { kind: 'chunk'; id: number; bytes: ArrayBuffer }
  | { kind: 'end'; id: number }
  /** Wakes a worker that waits for a chunk; the shared flag stops one that writes. */
  | { kind: 'cancel'; id: number };

/** Worker to main thread. */
export type FromWorker =
  /** Bytes that are through, so that as many may follow. */
  | { kind: 'consumed'; id: number; bytes: number }
  | { kind: 'done'; id: number; layer: UnpackedLayer }
  | { kind: 'failed'; id: number; error: SentError };

/** A DarkroomError loses its class on the way between threads. */
export interface SentError {
  code: ErrorCode;
  message: string;
  hint: string | undefined;
  retryable: boolean;
  details: Readonly<Record<string, unknown>>;
  stack: string | undefined;
}

export function sendError(error: unknown): SentError {
  const known =
    error instanceof DarkroomError
      ? error
      : new DarkroomError('internal', error instanceof Error ? error.message : String(error), { cause: error });
  const { code, message, hint, retryable, details } = known;
  return { code, message, hint, retryable, details, stack: error instanceof Error ? error.stack : undefined };
}

export function receiveError(sent: SentError, doing: string): DarkroomError {
  const { code, message, hint, retryable, details, stack } = sent;
  const error = new DarkroomError(code, `${doing}: ${message}`, {
    retryable,
    details,
    ...(hint === undefined ? {} : { hint }),
  });
  if (stack !== undefined) error.stack = `${error.name}: ${error.message}\n${stack}`;
  return error;
}
