import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { type Exchange, MAX_ANSWER_HEAD_BYTES } from './exchange.ts';
import { onInterim, passHints } from './interim-answers.ts';
import { PreviewProblem } from './problem.ts';
import { requestHeaders, trailersOf } from './request-headers.ts';
import { responseHeaders } from './response-headers.ts';

export interface ForwardOptions {
  idleMs: number;
  /** A client that stops in the middle of its body has this long. */
  bodyStallMs: number;
}

/** A program that answers before it has read everything: the client may send the rest for so long, to nobody. */
const LINGER_MS = 5_000;
/** Not every program has a word for a client that waits to be asked for its body. */
const CONTINUE_MS = 1_000;

/**
 * Sends the request to the program and its answer back, both as they come. Rejects with a problem as long as nothing of an answer
 * was sent; a failure after that cuts the connection, which is how the client hears that the answer is not whole.
 */
export function forwardRequest(exchange: Exchange, response: ServerResponse, options: ForwardOptions): Promise<void> {
  const { request, socket, signal } = exchange;
  // Whoever left before would not leave again.
  if (signal.aborted || response.destroyed) return Promise.reject(clientGone());
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const upstream = httpRequest({
    createConnection: () => socket,
    method: request.method,
    path: exchange.target,
    headers: requestHeaders(
      { ...headOf(request), remoteAddress: request.socket.remoteAddress },
      { ...exchange.forwarding, upgrade: false },
    ),
    maxHeaderSize: MAX_ANSWER_HEAD_BYTES,
    setHost: false,
  });

  function fail(problem: PreviewProblem): void {
    reject(problem);
    upstream.destroy();
    if (response.headersSent && !response.writableFinished) response.destroy();
  }
  const giveUp = () => fail(clientGone());

  signal.addEventListener('abort', giveUp, { once: true });
  response.once('close', () => {
    signal.removeEventListener('abort', giveUp);
    clearTimeout(patience);
    if (response.writableFinished) lingerFor(request);
    else giveUp();
    upstream.destroy();
    resolve();
  });
  response.on('error', giveUp);
  socket.setTimeout(options.idleMs, () => {
    fail(new PreviewProblem(504, 'The program in the sandbox did not answer in time.'));
  });
  // A connection that is gone already has no error left to tell of.
  socket.once('close', () => {
    if (!response.headersSent) fail(upstreamProblem({ name: 'Error', message: 'closed' }));
  });
  upstream.on('error', (cause: NodeJS.ErrnoException) => {
    if (response.writableEnded) return;
    fail(upstreamProblem(cause));
  });
  let awaitsContinue = request.headers.expect !== undefined;
  const goOn = () => {
    if (awaitsContinue && !response.headersSent) response.writeContinue();
    awaitsContinue = false;
  };
  const patience = awaitsContinue ? setTimeout(goOn, CONTINUE_MS) : undefined;
  upstream.on('continue', goOn);
  onInterim(upstream, fail, (interim) => passHints(interim, response));
  upstream.on('response', (answer) => {
    // Given up in the middle of what came with it.
    if (upstream.destroyed) return;
    try {
      // Whether a body that nobody asked for still comes, only the client knows.
      relay(exchange, answer, response, awaitsContinue, fail);
    } catch (cause) {
      fail(
        new PreviewProblem(502, 'The program in the sandbox answered with a head that cannot be passed on.', { cause }),
      );
    }
  });
  upstream.flushHeaders();
  sendBody(
    exchange,
    upstream,
    (stalled) => stalled && fail(new PreviewProblem(408, 'The rest of the request did not come.')),
    options,
  );
  return promise;
}

function headOf({ rawHeaders, headers, method }: IncomingMessage) {
  return { rawHeaders, headers, method };
}

/** Reads no faster than the program does. */
function sendBody(
  { request, onTraffic }: Exchange,
  upstream: ReturnType<typeof httpRequest>,
  onStall: (stalled: boolean) => void,
  { bodyStallMs }: ForwardOptions,
): void {
  request.on('data', onTraffic);
  request.once('end', () => {
    request.setTimeout(0);
    if (upstream.destroyed) return;
    const trailers = trailersOf(request.rawTrailers);
    if (trailers.length > 0) upstream.addTrailers(trailers);
    upstream.end();
  });
  request.on('error', () => upstream.destroy());
  request.setTimeout(bodyStallMs, () => onStall(!request.complete && !upstream.writableNeedDrain));
  request.pipe(upstream, { end: false });
}

function relay(
  { relaying, onAnswered, onTraffic, onEndless }: Exchange,
  answer: IncomingMessage,
  response: ServerResponse,
  closes: boolean,
  fail: (problem: PreviewProblem) => void,
): void {
  onAnswered();
  onTraffic();
  if (answer.headers['content-type']?.startsWith('text/event-stream')) onEndless();
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage ?? '', [
    ...responseHeaders(answer, relaying),
    ...(closes ? ['Connection', 'close'] : []),
  ]);
  // A stream of events may say nothing for long after its head.
  response.flushHeaders();
  answer.on('data', onTraffic);
  answer.once('end', () => {
    const trailers = trailersOf(answer.rawTrailers);
    if (trailers.length > 0) response.addTrailers(trailers);
    response.end();
  });
  answer.once('close', () => {
    if (!answer.complete) fail(new PreviewProblem(502, 'The program in the sandbox broke off its answer.'));
  });
  answer.on('error', () => {});
  answer.pipe(response, { end: false });
}

/** Node reads what is left of a body, so that the client can read the answer; not for ever. */
function lingerFor(request: IncomingMessage): void {
  if (request.complete) return;
  const { socket } = request;
  const timer = setTimeout(() => request.complete || socket.destroy(), LINGER_MS);
  timer.unref();
  request.once('end', () => clearTimeout(timer));
  socket.once('close', () => clearTimeout(timer));
  request.unpipe();
  request.resume();
}

export const clientGone = () => new PreviewProblem(499, 'The connection was closed.');

export function upstreamProblem(cause: NodeJS.ErrnoException): PreviewProblem {
  const { code = '' } = cause;
  const what =
    code === 'HPE_HEADER_OVERFLOW'
      ? 'answered with a head that is too long'
      : code.startsWith('HPE_')
        ? 'answered with something that is not HTTP'
        : 'closed the connection before it had answered';
  return new PreviewProblem(502, `The program in the sandbox ${what}.`, { cause });
}
