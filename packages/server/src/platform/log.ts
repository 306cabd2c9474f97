import { type DestinationStream, destination, type Logger, pino } from 'pino';
import type { Config } from './config-schema.ts';
import { errnoOf } from './errors.ts';
import { prettyLine } from './log-pretty.ts';

export type Log = Logger;

/** Fields that hold secrets wherever they stand; a wildcard of pino is one level. */
const SECRET_FIELDS = ['authorization', 'cookie', 'password', 'apiKey', 'token', 'secret', 'identitytoken'];
const REDACTED = SECRET_FIELDS.flatMap((name) => [name, `*.${name}`, `*.*.${name}`, `*.*.*.${name}`]);

/** Secrets inside texts, which no field name gives away: a URL in an error's message, a header that was quoted. */
const SECRET_TEXTS: readonly [RegExp, string][] = [
  [/\b(Bearer|Basic) +[\w.~+/=-]{8,}/gi, '$1 [redacted]'],
  [/\bdtn_[0-9a-f]{16,}/g, 'dtn_[redacted]'],
  // From the slashes on: to look for the scheme before them takes quadratic time, and others write these texts.
  [/(:\/\/[^\s/:@"\\]*:)[^\s/@"\\]+@/g, '$1[redacted]@'],
  // Of this server's own: tokens for SSH, and of signed previews, which stand in paths.
  [/(?<![0-9a-f])[0-9a-f]{48}(?![0-9a-f])/g, '[redacted]'],
  [/(\/(?:signed-preview-url|preview)\/)[a-z2-7]{32}(?=\/)/g, '$1[redacted]'],
  [
    /([?&](?:DAYTONA_SANDBOX_AUTH_KEY|token|signature|X-Amz-Signature|X-Amz-Credential|sig)=)[^&\s"\\]+/gi,
    '$1[redacted]',
  ],
];

export function scrub(text: string): string {
  let clean = text;
  for (const [pattern, replacement] of SECRET_TEXTS) clean = clean.replace(pattern, replacement);
  return clean;
}

export interface LogOptions extends Pick<Config, 'log'> {
  /** Where the lines go; the standard error by default, so that the standard output is for answers. */
  stream?: DestinationStream;
  isTerminal?: boolean;
}

/** The server's log: one line for each record, for people on a terminal, as JSON otherwise. */
export function createLog({ log, stream, isTerminal = process.stderr.isTTY }: LogOptions): Log {
  const pretty = log.format === 'pretty' || (log.format === 'auto' && isTerminal);
  // Synchronous: what was logged before a crash is what one wants to read after it.
  const sink = stream ?? destination({ dest: 2, sync: true });
  const options = {
    level: log.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: (error: unknown) => describeError(error) },
    redact: { paths: REDACTED, censor: '[redacted]' },
    hooks: { streamWrite: (line: string) => scrub(pretty ? prettyLine(line) : line) },
  };
  return pino(options, sink);
}

const MAX_CAUSES = 5;

/** What is of use in a log, by name: errors of libraries carry whole connections with them, and keys among those. */
function describeError(error: unknown, depth = 0): object {
  if (!(error instanceof Error)) return { message: String(error) };
  const code = errnoOf(error);
  return {
    type: error.name,
    message: error.message,
    ...(code === undefined ? {} : { code }),
    stack: error.stack,
    ...(error.cause === undefined || depth >= MAX_CAUSES ? {} : { cause: describeError(error.cause, depth + 1) }),
  };
}
