import { databaseProblem } from '../platform/db/problems.ts';
import { DarkroomError, messageOf } from '../platform/errors.ts';
import { BuildFailure, type FailureClass } from './failure.ts';

/** By `details.reason` of the puller's errors. */
const CLASSES: Readonly<Record<string, FailureClass>> = {
  denied: 'registry_auth',
  rate_limited: 'rate_limit',
  server: 'network',
  unreachable: 'network',
  interrupted: 'network',
  timeout: 'network',
  tls: 'network',
  too_large: 'limit_exceeded',
};

/** Of these a registry that works again, or a network, is the cure: its image of before will do meanwhile. */
const UNREACHABLE: ReadonlySet<unknown> = new Set(['server', 'unreachable', 'interrupted', 'timeout']);

export function isUnreachable(error: unknown): error is DarkroomError {
  return error instanceof DarkroomError && error.code === 'image_unavailable' && UNREACHABLE.has(error.details.reason);
}

/** What a failed pull means to the build that needs the image. */
export function baseImageFailure(name: string, error: unknown): BuildFailure {
  if (error instanceof BuildFailure) return error;
  const known = databaseProblem(error) ?? (error instanceof DarkroomError ? error : undefined);
  if (known === undefined || !known.isUserError) {
    return new BuildFailure(`The base image ${name} could not be made ready`, {
      class: 'internal',
      code: 'internal',
      retryable: false,
      cause: new Error(`base image ${name}: ${messageOf(error)}`, { cause: error }),
    });
  }
  const { message, code, hint, retryable } = known;
  return new BuildFailure(message, { class: classOf(known), code, hint, retryable, cause: error });
}

function classOf({ code, details: { reason } }: DarkroomError): FailureClass {
  if (code === 'image_unavailable' || code === 'image_invalid') {
    return (typeof reason === 'string' ? CLASSES[reason] : undefined) ?? 'user';
  }
  if (code === 'timeout') return 'network';
  return code === 'invalid_request' ? 'user' : 'internal';
}

export function tooLarge(name: string, sizeBytes: number, maxBytes: number): BuildFailure {
  return new BuildFailure(`The base image ${name} has ${sizeBytes} bytes; ${maxBytes} are allowed`, {
    class: 'limit_exceeded',
    code: 'image_invalid',
    hint: 'Use a smaller image, or raise the limit on the size of snapshots.',
    retryable: false,
  });
}
