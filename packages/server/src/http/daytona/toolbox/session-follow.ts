import type { WebSocket } from '@fastify/websocket';
import { messageOf } from '../../../platform/errors.ts';
import type { FollowableLogs, OutputStream } from '../../../sandboxes/toolbox/sessions/index.ts';

/** In front of each frame. */
const MARKERS: Record<OutputStream, Buffer> = {
  stdout: Buffer.from([1, 1, 1]),
  stderr: Buffer.from([2, 2, 2]),
};
/** Clients spread a frame's bytes as arguments of a call, which has a limit. */
const FRAME_BYTES = 16 * 1024;
const PING_MS = 30_000;
/** A client that gives no sign of life for so long is gone, or so slow that it is of no use. */
const MAX_SILENCE_MS = 5 * 60_000;
const CLOSE_NORMAL = 1000;
const CLOSE_FAILED = 1011;
/** What a close frame has room for, in bytes. */
const REASON_CHARS = 40;

/** Sends a command's output from its beginning until it has ended. Takes no more of it than the client has taken. */
export async function followLogs(socket: WebSocket, logs: FollowableLogs): Promise<void> {
  const gone = new AbortController();
  const stop = () => gone.abort();
  socket.on('close', stop);
  socket.on('error', stop);
  const stopWatching = watchLife(socket);
  const endUse = logs.beginUse();
  try {
    for await (const { stream, data } of logs.follow(gone.signal)) {
      for (let at = 0; at < data.length; at += FRAME_BYTES) {
        await send(socket, Buffer.concat([MARKERS[stream], data.subarray(at, at + FRAME_BYTES)]));
      }
    }
    socket.close(CLOSE_NORMAL);
  } catch (error) {
    // Of our own closing too: a client that went away in the middle of a frame.
    if (!gone.signal.aborted) socket.close(CLOSE_FAILED, messageOf(error).slice(0, REASON_CHARS));
  } finally {
    endUse();
    stopWatching();
  }
}

/** Resolves when the client's side of the connection has room for more. */
function send(socket: WebSocket, frame: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(frame, { binary: true }, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

function watchLife(socket: WebSocket): () => void {
  let last = performance.now();
  const alive = () => {
    last = performance.now();
  };
  socket.on('pong', alive);
  socket.on('message', alive);
  const timer = setInterval(() => {
    if (performance.now() - last > MAX_SILENCE_MS) socket.terminate();
    else socket.ping();
  }, PING_MS);
  timer.unref();
  return () => clearInterval(timer);
}
