import { randomUUID } from 'node:crypto';
import type { WebSocket } from 'ws';
import {
  connectedMessage,
  MAX_MESSAGE_LENGTH,
  openMessage,
  PING,
  PING_MS,
  PONG_MS,
  readMessage,
  refusedMessage,
} from './protocol.ts';

export interface ConnectionOptions {
  /** Whether the token may; raises or answers why not. Asked again now and then, because keys end. */
  admit(token: string): Promise<{ organizationId: string } | { refused: string }>;
  /** Called once the client is in; the answer is called when it is gone. Undefined when there is no place left. */
  join(organizationId: string): (() => void) | undefined;
  /** Called when the connection has ended, in whatever way. */
  ended(): void;
}

const CONNECT_MS = 10_000;
const CLOSE_MS = 5_000;
const GOING = 1001;
const REFUSED = 1008;

/** One client of the event channel, from its first message to its last. */
export function serveConnection(socket: WebSocket, { admit, join, ended }: ConnectionOptions): void {
  let state: 'new' | 'asked' | 'in' | 'gone' = 'new';
  let token = '';
  let leave = () => {};
  let limit = setTimeout(() => end(REFUSED, 'no token'), CONNECT_MS);
  let pings: NodeJS.Timeout | undefined;
  let isPinged = false;

  function end(code: number, reason: string): void {
    if (state === 'gone') return;
    state = 'gone';
    clearTimeout(limit);
    clearTimeout(pings);
    leave();
    ended();
    socket.close(code, reason);
    const cut = setTimeout(() => socket.terminate(), CLOSE_MS);
    socket.once('close', () => clearTimeout(cut));
  }

  async function enter(auth: unknown): Promise<void> {
    state = 'asked';
    const given = typeof auth === 'object' && auth !== null && 'token' in auth ? auth.token : undefined;
    token = typeof given === 'string' ? given : '';
    const answer = await admit(token);
    if (isGone()) return;
    if ('refused' in answer) return refuse(answer.refused);
    const left = join(answer.organizationId);
    if (left === undefined) return refuse('Too many connections to the event channel');
    clearTimeout(limit);
    state = 'in';
    leave = left;
    socket.send(connectedMessage(randomUUID()));
    pings = setTimeout(ping, PING_MS);
  }

  function refuse(message: string): void {
    socket.send(refusedMessage(message));
    end(REFUSED, 'refused');
  }

  function ping(): void {
    socket.send(PING);
    isPinged = true;
    limit = setTimeout(() => end(GOING, 'no answer'), PONG_MS);
    admit(token).then(
      (answer) => {
        if ('refused' in answer) end(REFUSED, 'refused');
      },
      // Whether it still may is asked at the next ping.
      () => undefined,
    );
  }

  const isGone = () => state === 'gone';
  socket.on('message', (data, isBinary) => {
    const text = isBinary ? '' : String(data);
    if (isBinary || text.length > MAX_MESSAGE_LENGTH) return end(REFUSED, 'not understood');
    const message = readMessage(text);
    if (message.kind === 'leave') return end(1000, '');
    if (message.kind === 'connect' && state === 'new') {
      enter(message.auth).catch(() => end(1011, 'try again'));
    }
    // One that nobody asked for would put off the next ping, and with it the question whether the key still may.
    if (message.kind === 'pong' && isPinged && !isGone()) {
      isPinged = false;
      clearTimeout(limit);
      clearTimeout(pings);
      pings = setTimeout(ping, PING_MS);
    }
  });
  socket.on('close', () => end(1000, ''));
  socket.on('error', () => end(1000, ''));
  socket.send(openMessage(randomUUID()));
}
