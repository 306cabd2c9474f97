import { DarkroomError, messageOf } from '@darkroom/server/machine';

export const EXIT_FAILURE = 1;
/** As shells and most tools have it: the command itself was wrong. */
export const EXIT_USAGE = 2;

/** Prints what went wrong and what to do, on standard error, and answers the exit code for it. */
export function reportError(
  error: unknown,
  write: (text: string) => void = (text) => process.stderr.write(text),
): number {
  if (!(error instanceof DarkroomError)) {
    // Not foreseen: the stack is what a report of it needs.
    write(`darkroom: ${error instanceof Error && error.stack !== undefined ? error.stack : messageOf(error)}\n`);
    return EXIT_FAILURE;
  }
  write(`darkroom: ${error.message}\n${error.hint === undefined ? '' : `  ${error.hint}\n`}`);
  return error.code === 'invalid_request' ? EXIT_USAGE : EXIT_FAILURE;
}
