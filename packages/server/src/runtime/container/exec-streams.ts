import { closeSync, fchownSync } from 'node:fs';
import { Socket } from 'node:net';
import { pipe } from '../../platform/libc-files.ts';

/** Three pipes: the ends of the command as descriptors, ours as streams. */
export interface ExecStreams {
  stdin: Socket;
  stdout: Socket;
  stderr: Socket;
  theirs: readonly [number, number, number];
  closeTheirs(): void;
  destroy(): void;
}

/**
 * Real pipes, owned by the command's user: `echo > /dev/stderr` opens them a second time. Ours are read only as far as somebody
 * takes what was read, so that a command that writes without end waits, and the server's memory stays as it is.
 */
export function openExecStreams(owner: { uid: number; gid: number }): ExecStreams {
  const open: number[] = [];
  const make = () => {
    const ends = pipe();
    open.push(ends.read, ends.write);
    return ends;
  };
  try {
    const stdin = make();
    const stdout = make();
    const stderr = make();
    const theirs = [stdin.read, stdout.write, stderr.write] as const;
    for (const fd of theirs) fchownSync(fd, owner.uid, owner.gid);
    const streams = {
      stdin: ourEnd(stdin.write, 'write'),
      stdout: ourEnd(stdout.read, 'read'),
      stderr: ourEnd(stderr.read, 'read'),
    };
    return {
      ...streams,
      theirs,
      closeTheirs: () => {
        for (const fd of theirs) closeSync(fd);
      },
      destroy: () => {
        for (const stream of Object.values(streams)) stream.destroy();
      },
    };
  } catch (error) {
    for (const fd of open) closeSync(fd);
    throw error;
  }
}

function ourEnd(fd: number, direction: 'read' | 'write'): Socket {
  const socket = new Socket({ fd, readable: direction === 'read', writable: direction === 'write' });
  // A command that ends without reading its input breaks the pipe; its exit code says what that meant.
  if (direction === 'write') socket.on('error', () => {});
  return socket;
}
