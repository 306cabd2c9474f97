import type { WebSocket } from 'ws';

const PING_MS = 30_000;

/** A peer that vanished without a word is noticed by the pings that it does not answer; idle connections stay open for proxies. */
export function keepAlive(socket: WebSocket): void {
  let answered = true;
  const timer = setInterval(() => {
    if (!answered) return socket.terminate();
    answered = false;
    socket.ping();
  }, PING_MS);
  timer.unref();
  socket.on('pong', () => {
    answered = true;
  });
  socket.once('close', () => clearInterval(timer));
}
