import { DarkroomError } from '../../platform/errors.ts';

/** A Dockerfile that cannot be built as it is written: the message begins with the line, counted from 1. */
export function syntaxError(line: number, message: string, hint?: string): DarkroomError {
  return new DarkroomError('invalid_request', `Dockerfile line ${line}: ${clipped(message)}`, {
    details: { line },
    ...(hint === undefined ? {} : { hint: clipped(hint) }),
  });
}

/** What is quoted from the file can be as long as the file. */
const MAX_CHARS = 1000;

function clipped(text: string): string {
  return text.length <= MAX_CHARS ? text : `${text.slice(0, MAX_CHARS)}…`;
}
