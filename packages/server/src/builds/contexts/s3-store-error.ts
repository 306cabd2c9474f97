import { DarkroomError, invalidRequest, notFound } from '../../platform/errors.ts';

const MISSING = new Set(['NoSuchKey', 'NotFound', 'NoSuchUpload']);
const MISTAKES = new Set(['EntityTooLarge', 'EntityTooSmall', 'InvalidPart', 'InvalidPartOrder', 'InvalidArgument']);
const FULL = /StorageFull|InsufficientStorage|QuotaExceeded/i;

export const isMissing = (error: unknown) => MISSING.has(nameOf(error));

/** What the store said, in our words. Its address and keys stay in the log. */
export function storeError(error: unknown): unknown {
  if (error instanceof DarkroomError) return error;
  const name = nameOf(error);
  if (MISSING.has(name)) return notFound('There is no such upload');
  if (MISTAKES.has(name) && error instanceof Error) return invalidRequest(error.message, { cause: error });
  if (FULL.test(name)) {
    return new DarkroomError('insufficient_storage', 'No space is left to store the context', { cause: error });
  }
  return new DarkroomError('unavailable', `The object store does not do its work (${name})`, {
    hint: 'Its settings are objectStore in the configuration; the log of the server has the whole error.',
    retryable: true,
    cause: error,
  });
}

const nameOf = (error: unknown) => (error instanceof Error ? error.name : 'unknown');
