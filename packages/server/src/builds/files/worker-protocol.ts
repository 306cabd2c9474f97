import type { SentError } from '../../images/unpack/protocol.ts';
import { DarkroomError } from '../../platform/errors.ts';
import type { DigestRequest, TransferRequest, TransferResult } from './transfer-types.ts';

export interface JobLimits {
  idBase: number;
  idCount: number;
  maxEntries: number;
}

export interface MergeJob {
  kind: 'merge';
  /** Gets `tree` and `digests.json`. */
  directory: string;
  maxBytes: number;
  /** How errors call the archives, in order. */
  names: string[];
}

export type FilesJob =
  | { kind: 'transfer'; request: TransferRequest }
  | { kind: 'digest'; request: DigestRequest }
  | MergeJob;

export interface FilesResults {
  transfer: TransferResult;
  digest: string;
  merge: { sizeBytes: number; entries: number };
}

export type FilesResult = { [K in keyof FilesResults]: { kind: K; value: FilesResults[K] } }[keyof FilesResults];

/** Main thread to worker. A worker has one job at a time; what belongs to an earlier one is dropped. */
export type ToWorker =
  | { kind: 'start'; id: number; job: FilesJob; limits: JobLimits; cancelled: SharedArrayBuffer }
  | { kind: 'chunk'; id: number; bytes: ArrayBuffer }
  /** Of the archive that is being read. */
  | { kind: 'end'; id: number }
  | { kind: 'cancel'; id: number };

/** Worker to main thread. */
export type FromWorker =
  /** The worker is ready for the archive of this number. */
  | { kind: 'next'; id: number; index: number }
  | { kind: 'consumed'; id: number; bytes: number }
  | { kind: 'done'; id: number; result: FilesResult }
  | { kind: 'failed'; id: number; error: SentError };

export class FilesCancelled extends Error {
  override readonly name = 'FilesCancelled';
}

/** The error as it was raised in the worker. */
export function restoreError({ code, message, hint, retryable, details, stack }: SentError): DarkroomError {
  const error = new DarkroomError(code, message, { retryable, details, ...(hint === undefined ? {} : { hint }) });
  if (stack !== undefined) error.stack = `${error.name}: ${error.message}\n${stack}`;
  return error;
}
