import { constants, openSync } from 'node:fs';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { mknod } from '../platform/libc.ts';

const S_IFIFO = 0o010000;

/**
 * A named pipe that takes what a process writes which outlives the server. The process holds it open in both directions, so
 * that no server's death can break it: what it writes meanwhile waits in the pipe for the next server, and so, when the pipe is
 * full, does the process.
 */
export async function makeFifo(path: string): Promise<FileHandle> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await rm(path, { force: true });
  mknod(path, S_IFIFO | 0o600);
  return open(path, constants.O_RDWR);
}

/** Our end. It ends when nobody has the pipe open for writing any more. Raises ENOENT when there is no pipe. */
export function readFifo(path: string): Readable {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return new Socket({ fd, readable: true, writable: false });
}
