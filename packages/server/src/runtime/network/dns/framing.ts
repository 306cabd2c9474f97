import type { Socket } from 'node:net';

/** RFC 7766: over TCP each message has its length before it. */
export function frame(message: Buffer): Buffer {
  const framed = Buffer.alloc(message.length + 2);
  framed.writeUInt16BE(message.length);
  message.copy(framed, 2);
  return framed;
}

/** Calls back for each whole message; destroys the connection when one is longer than this. */
export function readFrames(socket: Socket, maxBytes: number, onMessage: (message: Buffer) => void): void {
  let buffered: Buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    buffered = Buffer.concat([buffered, chunk]);
    while (buffered.length >= 2 && !socket.destroyed) {
      const length = buffered.readUInt16BE();
      if (length > maxBytes) {
        socket.destroy();
        return;
      }
      if (buffered.length < length + 2) return;
      const message = buffered.subarray(2, length + 2);
      buffered = buffered.subarray(length + 2);
      onMessage(message);
    }
  });
}
