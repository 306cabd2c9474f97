import { closeSync, fchownSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { pipe } from './libc-files.ts';

/** Three pipes: the ends of the process as descriptors, ours as streams. */
export interface ProcessPipes {
  stdin: Writable;
  stdout: Readable;
  stderr: Readable;
  theirs: readonly [number, number, number];
  closeTheirs(): void;
  destroy(): void;
}

/**
 * Real pipes, owned by the process's user where one is given: `echo > /dev/stderr` opens them a second time. Ours are read only
 * as far as somebody takes what was read, so that a process that writes without end waits, and the server's memory stays as it is.
 */
export function openProcessPipes(owner?: { uid: number; gid: number }): ProcessPipes {
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
    if (owner) for (const fd of theirs) fchownSync(fd, owner.uid, owner.gid);
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
  // A process that ends without reading its input breaks the pipe; its exit code says what that meant.
  if (direction === 'write') socket.on('error', () => {});
  return socket;
}
