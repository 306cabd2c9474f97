import type { ErrorCode } from '@darkroom/contract/error-codes';
import { outOfSpace } from '../../images/unpack/unpack-error.ts';
import { DarkroomError, errnoOf } from '../../platform/errors.ts';
import { BuildFailure, type FailedStep, type FailureClass } from '../failure.ts';
import type { Redactor } from '../logs/redactor.ts';

/** Which matter an error is that a part below raised. Classes of what a registry says are decided where it is asked. */
const CLASSES: Readonly<Record<ErrorCode, FailureClass>> = {
  invalid_request: 'user',
  unauthenticated: 'registry_auth',
  forbidden: 'user',
  not_found: 'user',
  timeout: 'limit_exceeded',
  conflict: 'user',
  payload_too_large: 'limit_exceeded',
  rate_limited: 'rate_limit',
  quota_exceeded: 'limit_exceeded',
  image_unavailable: 'user',
  image_invalid: 'user',
  insufficient_storage: 'limit_exceeded',
  unavailable: 'network',
  internal: 'internal',
};

/** An error as the failure of a build, at the step where it happened. What is known of the command and its end is kept. */
export function asBuildFailure(error: unknown, step: FailedStep | undefined): BuildFailure {
  if (error instanceof BuildFailure) {
    const merged = step && { ...step, command: error.step?.command ?? step.command, exitCode: error.step?.exitCode };
    return new BuildFailure(error.message, { ...optionsOf(error), class: error.class, step: merged ?? error.step });
  }
  if (error instanceof DarkroomError && error.isUserError) {
    const message = step === undefined ? error.message : withoutPlace(error.message);
    return new BuildFailure(message, { ...optionsOf(error), class: CLASSES[error.code], step });
  }
  const errno = errnoOf(error);
  if (errno === 'ENOSPC' || errno === 'EDQUOT') return asBuildFailure(outOfSpace(error), step);
  const what = step === undefined ? 'the build could not be finished' : 'the step could not be carried out';
  return new BuildFailure(`${what}, for a reason inside of the server`, {
    class: 'internal',
    code: 'internal',
    step,
    hint: 'The server’s log says more.',
    retryable: true,
    cause: error,
  });
}

function optionsOf({ code, hint, retryable, cause }: DarkroomError) {
  return { code, hint, retryable, cause };
}

/** The same failure, with nothing in it that must not be shown. */
export function withoutSecretValues(failure: BuildFailure, redactor: Pick<Redactor, 'text'>): BuildFailure {
  const { step, hint } = failure;
  const clean = (text: string | undefined) => (text === undefined ? undefined : redactor.text(text));
  return new BuildFailure(redactor.text(failure.message), {
    ...optionsOf(failure),
    class: failure.class,
    hint: clean(hint),
    step: step && { ...step, text: redactor.text(step.text), command: clean(step.command) },
  });
}

/** The step says the line. */
function withoutPlace(message: string): string {
  return message.replace(/^Dockerfile line \d+: /, '');
}

export function limitExceeded(message: string, hint: string, step?: FailedStep): BuildFailure {
  return new BuildFailure(message, { class: 'limit_exceeded', code: 'quota_exceeded', hint, step, retryable: false });
}

export function userFailure(message: string, hint?: string): BuildFailure {
  return new BuildFailure(message, { class: 'user', code: 'invalid_request', hint, retryable: false });
}

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

export function formatBytes(bytes: number): string {
  let amount = bytes;
  let unit = 0;
  while (amount >= 1024 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(amount) ? amount : amount.toFixed(1)} ${UNITS[unit]}`;
}
