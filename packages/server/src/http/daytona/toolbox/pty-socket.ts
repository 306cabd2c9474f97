import type { WebSocket } from 'ws';
import type { TerminalSession, TerminalViewer } from '../../../sandboxes/toolbox/terminals/index.ts';
import { CONNECTED, exitedMessage, exitReason } from './pty-messages.ts';
import { keepAlive } from './socket-liveness.ts';

/** What waits to be sent to one client before the terminal is held back, and the rest at which it goes on. */
const HIGH_WATER_BYTES = 1024 * 1024;
const LOW_WATER_BYTES = 256 * 1024;
/** What was typed and not taken yet, before the client is held back. */
const TYPED_BYTES = 256 * 1024;
const CLOSED_NORMALLY = 1000;
const TRY_AGAIN_LATER = 1013;
/** A client that does not answer the closing of its connection. */
const CLOSE_MS = 10_000;

/** One client at a terminal: binary frames are output and input, text frames to the client are control messages. */
export function serveTerminal(socket: WebSocket, session: TerminalSession, knowsExitControl: boolean): void {
  keepAlive(socket);
  let isHeld = false;
  let isOver = false;

  function close(code: number, reason: string): void {
    isOver = true;
    socket.close(code, reason);
    const timer = setTimeout(() => socket.terminate(), CLOSE_MS);
    timer.unref();
    socket.once('close', () => clearTimeout(timer));
  }

  const viewer: TerminalViewer = {
    show(chunk) {
      // Always binary: what a program writes must never pass for a control message.
      socket.send(chunk, { binary: true }, () => {
        if (!isHeld || socket.bufferedAmount > LOW_WATER_BYTES) return;
        isHeld = false;
        seat.drained();
      });
      isHeld = socket.bufferedAmount > HIGH_WATER_BYTES;
      return !isHeld;
    },
    end(end) {
      if (knowsExitControl) socket.send(exitedMessage(end));
      close(CLOSED_NORMALLY, exitReason(end));
    },
    cut: () => close(TRY_AGAIN_LATER, JSON.stringify({ error: 'the client did not take what the terminal showed' })),
  };

  let typed = 0;
  socket.on('message', (data, _isBinary) => {
    if (isOver) return;
    const input = Buffer.isBuffer(data) ? data : Buffer.concat(Array.isArray(data) ? data : [Buffer.from(data)]);
    typed += input.length;
    if (typed > TYPED_BYTES) socket.pause();
    seat.type(input, () => {
      typed -= input.length;
      if (typed <= TYPED_BYTES && socket.isPaused) socket.resume();
    });
  });
  socket.send(CONNECTED);
  const seat = session.attach(viewer);
  socket.once('close', () => {
    isOver = true;
    seat.leave();
  });
}
