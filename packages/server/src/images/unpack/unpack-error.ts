import { DarkroomError, errnoOf, messageOf } from '../../platform/errors.ts';
import { TarFormatError } from '../tar/types.ts';

/** The layer is refused because of the entry that is being applied; `entryError` adds which one. */
export class EntryRefused extends Error {
  override readonly name = 'EntryRefused';
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

function invalidEntry(name: Buffer | string, what: string, cause: unknown): DarkroomError {
  const hint = cause instanceof EntryRefused ? cause.hint : undefined;
  return new DarkroomError(
    'image_invalid',
    `entry ${shown(name)}: ${what}`,
    hint === undefined ? { cause } : { hint, cause },
  );
}

/** A name of any bytes as text that is safe to print. */
function shown(name: Buffer | string): string {
  const bytes = typeof name === 'string' ? Buffer.from(name, 'latin1') : name;
  const text = bytes.subarray(0, 200).toString('utf8');
  return JSON.stringify(bytes.length > 200 ? `${text}…` : text);
}

/** The call was aborted from the other thread. */
export class UnpackCancelled extends Error {
  override readonly name = 'UnpackCancelled';
}

/** What a failure on an entry means to whoever asked for the image. */
export function entryError(name: Buffer | string, cause: unknown): unknown {
  if (cause instanceof DarkroomError || cause instanceof TarFormatError || cause instanceof UnpackCancelled)
    return cause;
  if (cause instanceof EntryRefused) return invalidEntry(name, cause.message, cause);
  switch (errnoOf(cause)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return outOfSpace(cause);
    case 'ENAMETOOLONG':
      return invalidEntry(name, 'its name or link target is too long', cause);
    case 'EFBIG':
    case 'E2BIG':
    case 'EMLINK':
    case 'ERANGE':
      return invalidEntry(name, `more than the file system can hold (${messageOf(cause)})`, cause);
    default:
      return new DarkroomError('internal', `unpack entry ${shown(name)}: ${messageOf(cause)}`, { cause });
  }
}

export function outOfSpace(cause: unknown): DarkroomError {
  return new DarkroomError('insufficient_storage', 'the disk is full', {
    hint: 'Delete snapshots that are not needed, or give the pool more room.',
    retryable: true,
    cause,
  });
}
