import { ERROR_CODES, type ErrorCode } from '@darkroom/contract/error-codes';

export interface DarkroomErrorOptions {
  /** What a person can do about it. Shown behind the message. */
  hint?: string;
  /** Whether the same request may succeed later without a change. */
  retryable?: boolean;
  details?: Readonly<Record<string, unknown>>;
  cause?: unknown;
}

/** The one error class of the server: a stable code, a message that is safe to show, and what to do next. */
export class DarkroomError extends Error {
  override readonly name = 'DarkroomError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: DarkroomErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
  }

  get status(): number {
    return ERROR_CODES[this.code].status;
  }

  /** Internal errors are logged and shown by id; everything else may be shown to the user. */
  get isUserError(): boolean {
    return ERROR_CODES[this.code].kind === 'user';
  }
}

export const invalidRequest = (message: string, options?: DarkroomErrorOptions) =>
  new DarkroomError('invalid_request', message, options);
export const notFound = (message: string, options?: DarkroomErrorOptions) =>
  new DarkroomError('not_found', message, options);
export const forbidden = (message: string, options?: DarkroomErrorOptions) =>
  new DarkroomError('forbidden', message, options);
export const conflict = (message: string, options?: DarkroomErrorOptions) =>
  new DarkroomError('conflict', message, options);

/** The errno name (`ENOENT`, `ENOSPC`) of a system error, if it is one. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}

/** For `catch`: what a call for a file that is not there resolves to. */
export function undefinedIfMissing(error: unknown): undefined {
  if (errnoOf(error) !== 'ENOENT') throw error;
}

/** What happened and what to do about it, as one text. */
export function withHint({ message, hint }: DarkroomError): string {
  if (hint === undefined) return message;
  return /[.!?:]$/.test(message) ? `${message} ${hint}` : `${message}. ${hint}`;
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
