import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Forwarding } from './request-headers.ts';
import type { Relaying } from './response-headers.ts';

/** One admitted request on its way to a program and back. */
export interface Exchange {
  request: IncomingMessage;
  /** What the program is asked for. */
  target: string;
  /** To the program; for this request alone, so that no other one waits for it or hears its answer. */
  socket: Socket;
  forwarding: Forwarding;
  relaying: Relaying;
  /** The program has answered: from here on only what goes through says that somebody is there. */
  onAnswered(): void;
  /** Bytes went through. */
  onTraffic(): void;
  /** The answer has no end of its own. */
  onEndless(): void;
  signal: AbortSignal;
}

/** A program's answer may have a longer head than a request. */
export const MAX_ANSWER_HEAD_BYTES = 64 * 1024;
