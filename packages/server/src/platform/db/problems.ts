import { DarkroomError, errnoOf } from '../errors.ts';

/** Classes of SQLSTATE: the connection broke, the database is stopping or starting, too many connections. */
const UNAVAILABLE = /^(08...|57P0[1-5]|53300)$/;
/** A time limit, a lock that was not given, two changes that waited for each other. */
const CONTENDED = /^(57014|55P03|40001|40P01|25P03)$/;
const FULL = /^(53100|53000)$/;
const UNREACHABLE: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
]);
/** What the driver raises without a code when a connection ends under a query, or none can be had. */
const DRIVER_MESSAGES =
  /^(Connection terminated|Query read timeout|timeout exceeded when trying to connect|timeout expired|Client (has encountered a connection error|was closed))/;

class DatabaseProblem extends DarkroomError {}

/**
 * What a client may be told of an error of the database that is nobody's mistake and may be over soon; undefined for
 * every other error, which is one of ours.
 */
export function databaseProblem(error: unknown): DarkroomError | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = errnoOf(error) ?? '';
  // Those of files have a path.
  const connecting = 'syscall' in error && !('path' in error) && UNREACHABLE.has(code);
  if (FULL.test(code)) {
    return new DatabaseProblem('insufficient_storage', 'The disk of the database is full.', {
      cause: error,
      retryable: true,
    });
  }
  if (connecting || UNAVAILABLE.test(code) || DRIVER_MESSAGES.test(error.message)) {
    return new DatabaseProblem('unavailable', 'The database cannot be reached.', {
      hint: 'It is being started again; try once more in a moment.',
      cause: error,
      retryable: true,
    });
  }
  if (CONTENDED.test(code)) {
    return new DatabaseProblem('unavailable', 'The database is busy.', {
      hint: 'Try again.',
      cause: error,
      retryable: true,
    });
  }
  return undefined;
}

/** Whether an error is of the database and may be over soon, also where `databaseProblem` has already said so of it. */
export function isOfDatabase(error: unknown): boolean {
  if (!(error instanceof DarkroomError)) return databaseProblem(error) !== undefined;
  // A cause that nobody has judged may be of anything: a registry refuses connections as well.
  return error instanceof DatabaseProblem || (error.cause instanceof DarkroomError && isOfDatabase(error.cause));
}
