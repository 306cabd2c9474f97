import { closeSync, constants, fchownSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { PassThrough, Readable, type Writable } from 'node:stream';
import { pipe } from '../../platform/libc-files.ts';

/** Three pipes: the ends of the command as descriptors, ours as streams. */
export interface ExecStreams {
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
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

/** For a command that must outlive the server: no pipe of ours is among what it holds. The caller keeps `outputFd`. */
export function openDetachedStreams(owner: { uid: number; gid: number }, outputFd: number): ExecStreams {
  fchownSync(outputFd, owner.uid, owner.gid);
  const nothing = openSync('/dev/null', constants.O_RDONLY);
  const stdin = new PassThrough();
  stdin.resume();
  return {
    stdin,
    stdout: Readable.from([]),
    stderr: Readable.from([]),
    theirs: [nothing, outputFd, outputFd],
    closeTheirs: () => closeSync(nothing),
    destroy: () => {},
  };
}

function ourEnd(fd: number, direction: 'read' | 'write'): Socket {
  const socket = new Socket({ fd, readable: direction === 'read', writable: direction === 'write' });
  // A command that ends without reading its input breaks the pipe; its exit code says what that meant.
  if (direction === 'write') socket.on('error', () => {});
  return socket;
}
