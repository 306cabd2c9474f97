import { DarkroomError } from '../../platform/errors.ts';

/** A Dockerfile that cannot be built as it is written: the message begins with the line, counted from 1. */
export function syntaxError(line: number, message: string, hint?: string): DarkroomError {
  return new DarkroomError('invalid_request', `Dockerfile line ${line}: ${message}`, {
    details: { line },
    ...(hint === undefined ? {} : { hint }),
  });
}
