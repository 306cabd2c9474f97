import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { databaseProblem } from '../../platform/db/problems.ts';
import { DarkroomError, withHint } from '../../platform/errors.ts';

/** Why a preview cannot be shown, in the numbers of a gateway. */
export class PreviewProblem extends Error {
  override readonly name = 'PreviewProblem';
  readonly status: number;
  readonly retryAfterSeconds: number | undefined;

  constructor(status: number, message: string, options: { retryAfterSeconds?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.status = status;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** An error of a rule, as the client sees it. */
export function toProblem(error: unknown): PreviewProblem {
  if (error instanceof PreviewProblem) return error;
  const known = databaseProblem(error) ?? error;
  if (known instanceof DarkroomError && known.isUserError) {
    return new PreviewProblem(known.status, withHint(known), {
      cause: error,
    });
  }
  return new PreviewProblem(500, 'An unexpected error occurred.', { cause: error });
}

/** JSON as of the API; a small page for a browser, which says what to do. */
export function answerProblem(request: IncomingMessage, response: ServerResponse, problem: PreviewProblem): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const { status, message, retryAfterSeconds } = problem;
  const reason = STATUS_CODES[status] ?? 'Error';
  const asPage = wantsPage(request);
  const body = asPage
    ? page(status, reason, message)
    : JSON.stringify({ timestamp: new Date().toISOString(), statusCode: status, error: reason, message });
  // The reason, too: a program's, which was no good, stays with the response that it could not be written to.
  response.writeHead(status, reason, {
    'Content-Type': asPage ? 'text/html; charset=utf-8' : 'application/json',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    // Tells our own words from the program's.
    'X-Darkroom-Preview': 'error',
    ...(asPage ? { 'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'" } : {}),
    ...(retryAfterSeconds === undefined ? {} : { 'Retry-After': String(retryAfterSeconds) }),
    // What is left of the request is not worth reading.
    ...(request.complete ? {} : { Connection: 'close' }),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

export const wantsPage = ({ headers }: Pick<IncomingMessage, 'headers'>): boolean =>
  /\btext\/html\b/i.test(headers.accept ?? '');

function page(status: number, reason: string, message: string): string {
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${status} ${escaped(reason)}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:15vh auto;padding:0 1em}</style>
<h1>${status} ${escaped(reason)}</h1><p>${escaped(message)}</p></html>
`;
}

const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
