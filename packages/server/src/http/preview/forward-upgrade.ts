import { request as httpRequest, type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Exchange, MAX_ANSWER_HEAD_BYTES } from './exchange.ts';
import { clientGone, upstreamProblem } from './forward-request.ts';
import { onInterim } from './interim-answers.ts';
import { PreviewProblem } from './problem.ts';
import { pairs, requestHeaders } from './request-headers.ts';
import { responseHeaders } from './response-headers.ts';

export interface UpgradeOptions {
  /** Until the program has answered. */
  answerMs: number;
  /** WebSockets are quiet for long; a dead one must end all the same. */
  idleMs: number;
}

/**
 * Passes on the wish for another protocol. Resolves when the connection has ended, rejects with a problem when the program did
 * not answer. A program that does not want to gets its plain answer through.
 */
export function forwardUpgrade(
  exchange: Exchange,
  client: Socket,
  head: Buffer,
  options: UpgradeOptions,
): Promise<void> {
  const { request, socket, signal } = exchange;
  // Whoever left before would not leave again.
  if (signal.aborted || client.destroyed) return Promise.reject(clientGone());
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const upstream = httpRequest({
    createConnection: () => socket,
    method: request.method,
    path: exchange.target,
    headers: requestHeaders(
      {
        rawHeaders: request.rawHeaders,
        headers: request.headers,
        method: request.method,
        remoteAddress: client.remoteAddress,
      },
      { ...exchange.forwarding, upgrade: true },
    ),
    maxHeaderSize: MAX_ANSWER_HEAD_BYTES,
    setHost: false,
  });
  const end = () => {
    upstream.destroy();
    socket.destroy();
    client.destroy();
  };
  signal.addEventListener('abort', end, { once: true });
  client.once('close', () => {
    signal.removeEventListener('abort', end);
    upstream.destroy();
    socket.destroy();
    resolve();
  });
  let isAnswered = false;
  /** Only as long as nothing of an answer is on its way: no other one can follow it. */
  function fail(problem: PreviewProblem): void {
    if (!isAnswered) reject(problem);
    upstream.destroy();
  }
  socket.setTimeout(options.answerMs, () => {
    fail(new PreviewProblem(504, 'The program in the sandbox did not answer in time.'));
  });
  upstream.on('error', (cause: NodeJS.ErrnoException) => fail(upstreamProblem(cause)));
  // A connection that is gone already has no error left to tell of.
  socket.once('close', () => fail(upstreamProblem({ name: 'Error', message: 'closed' })));
  onInterim(upstream, fail);
  upstream.on('upgrade', (answer, _socket, rest) => {
    if (upstream.destroyed) return;
    isAnswered = true;
    exchange.onAnswered();
    socket.setTimeout(options.idleMs, end);
    // As they came: Node reads heads as Latin-1.
    client.write(switchingHead(answer, exchange), 'latin1');
    join(exchange, client, head, rest, end);
  });
  upstream.on('response', (answer) => {
    // Given up in the middle of what came with it.
    if (upstream.destroyed) return;
    exchange.onAnswered();
    try {
      refuse(exchange, answer, client);
      isAnswered = true;
    } catch (cause) {
      fail(
        new PreviewProblem(502, 'The program in the sandbox answered with a head that cannot be passed on.', { cause }),
      );
    }
  });
  upstream.end();
  return promise;
}

/** Each side's end is passed on, as some protocols go on in one direction. Each reads no faster than the other. */
function join({ socket, onTraffic }: Exchange, client: Socket, head: Buffer, rest: Buffer, end: () => void): void {
  if (rest.length > 0) client.write(rest);
  if (head.length > 0) socket.write(head);
  socket.setNoDelay(true);
  client.setNoDelay(true);
  client.setTimeout(0);
  for (const side of [socket, client]) {
    side.on('data', onTraffic);
    side.on('error', end);
  }
  socket.once('close', () => client.destroySoon());
  socket.pipe(client);
  client.pipe(socket);
}

function switchingHead(answer: IncomingMessage, { relaying }: Exchange): string {
  const { upgrade } = answer.headers;
  const lines = [...pairs(responseHeaders(answer, relaying))].map(([name, value]) => `${name}: ${value}`);
  return [
    'HTTP/1.1 101 Switching Protocols',
    `Upgrade: ${upgrade ?? ''}`,
    'Connection: Upgrade',
    ...lines,
    '',
    '',
  ].join('\r\n');
}

function refuse({ request, relaying }: Exchange, answer: IncomingMessage, client: Socket): void {
  const response = new ServerResponse(request);
  // Before the connection is its own: where this raises, another response needs it.
  response.writeHead(answer.statusCode ?? 502, answer.statusMessage ?? '', [
    ...responseHeaders(answer, relaying),
    'Connection',
    'close',
  ]);
  giveConnection(response, client);
  answer.on('error', () => client.destroy());
  answer.once('close', () => answer.complete || client.destroy());
  answer.pipe(response);
}

/** To answer in HTTP after all, on a connection that the server has let go of. It ends with the answer. */
export function responseOn(request: IncomingMessage, client: Socket): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  giveConnection(response, client);
  return response;
}

function giveConnection(response: ServerResponse, client: Socket): void {
  response.assignSocket(client);
  response.on('finish', () => client.destroySoon());
}
