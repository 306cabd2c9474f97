import type { ErrorCode } from '@darkroom/contract/error-codes';
import { DarkroomError } from '../platform/errors.ts';

/** Whose matter a failure is, which decides what a person does next. */
export type FailureClass = 'user' | 'network' | 'registry_auth' | 'rate_limit' | 'limit_exceeded' | 'internal';

export interface FailedStep {
  number: number;
  line: number;
  text: string;
  /** What ran, with variables filled in; undefined where nothing did. */
  command: string | undefined;
  exitCode: number | undefined;
}

export interface BuildFailureOptions {
  class: FailureClass;
  code: ErrorCode;
  step?: FailedStep | undefined;
  hint?: string | undefined;
  /** Whether the same build may succeed later without a change. */
  retryable: boolean;
  cause?: unknown;
}

/** Why a build failed, as a record. The message is one sentence and safe to show. */
export class BuildFailure extends DarkroomError {
  readonly class: FailureClass;
  readonly step: FailedStep | undefined;

  constructor(message: string, options: BuildFailureOptions) {
    const { hint, retryable, cause } = options;
    super(options.code, message, { retryable, cause, ...(hint === undefined ? {} : { hint }) });
    this.class = options.class;
    this.step = options.step;
  }
}
