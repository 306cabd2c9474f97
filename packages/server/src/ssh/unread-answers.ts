import type { Socket } from 'node:net';

/** Reads no more from who does not take what is sent to it: its questions would fill the memory with answers. */
export function holdBackWhileUnread(socket: Socket, maxBytes: number): void {
  socket.on('data', () => {
    if (socket.writableLength > maxBytes) socket.pause();
  });
  socket.on('drain', () => socket.resume());
}
