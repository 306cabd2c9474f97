import type { WebSocket } from 'ws';
import type { OutputName, RunResult, ShowOutput } from '../../../sandboxes/toolbox/interpreter/index.ts';
import { closeReason } from './close-reason.ts';
import { keepAlive } from './socket-liveness.ts';

/** What clients of every language take for their own time-out error. */
const TIMED_OUT = 4008;
const REFUSED = 1008;
const CLOSED_NORMALLY = 1000;
/** A client that connects says soon what it wants. */
const REQUEST_MS = 30_000;
const CLOSE_MS = 10_000;
/** What waits to be sent before the code is held back. */
const HIGH_WATER_BYTES = 1024 * 1024;

export interface RunService {
  /** Runs what the client's message asks for; raises for what cannot be run. */
  run(message: string, show: ShowOutput, signal: AbortSignal): Promise<RunResult>;
  describe(error: unknown): string;
}

/** The first message asks for a run; output, error and end of it are messages to the client. A client that goes away ends it. */
export function serveRun(socket: WebSocket, service: RunService): void {
  keepAlive(socket);
  const gone = new AbortController();
  socket.once('close', () => gone.abort());
  const late = setTimeout(() => close(REFUSED, 'no code came'), REQUEST_MS);
  socket.once('message', (data) => {
    clearTimeout(late);
    answer(String(data)).catch(() => socket.terminate());
  });
  socket.once('close', () => clearTimeout(late));

  function close(code: number, reason: string): void {
    socket.close(code, closeReason(reason));
    const timer = setTimeout(() => socket.terminate(), CLOSE_MS);
    timer.unref();
    socket.once('close', () => clearTimeout(timer));
  }

  const send = (message: object) => socket.send(JSON.stringify(message));

  function show(type: OutputName, text: string): void | Promise<void> {
    if (gone.signal.aborted) return;
    const isFull = socket.bufferedAmount > HIGH_WATER_BYTES;
    if (!isFull) return send({ type, text });
    // Called back when it is on its way, and when it never will be.
    return new Promise((resolve) => socket.send(JSON.stringify({ type, text }), () => resolve()));
  }

  async function answer(message: string): Promise<void> {
    let result: RunResult;
    try {
      result = await service.run(message, show, gone.signal);
    } catch (error) {
      return close(REFUSED, service.describe(error));
    }
    if (result.outcome === 'timeout') return close(TIMED_OUT, 'execution timed out');
    if (result.outcome === 'completed' && result.run.error !== undefined) send({ type: 'error', ...result.run.error });
    send({ type: 'control', text: result.outcome });
    close(CLOSED_NORMALLY, '');
  }
}
