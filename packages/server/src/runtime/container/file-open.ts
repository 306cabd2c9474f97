import { closeSync, constants, fstatSync } from 'node:fs';
import { chmod, chown, type FileHandle, open } from 'node:fs/promises';
import { errnoOf } from '../../platform/errors.ts';
import { openat2 } from '../../platform/libc-files.ts';
import type { FileChanges, OpenFile, OpenOptions } from '../types.ts';
import { fileError, leaseHeld, locate } from './container-root.ts';
import { makeIn, PLAIN_NAME, withPlace } from './directory-place.ts';
import { fileStat } from './file-stat.ts';
import { refuseKernelFile, refuseSpecial } from './regular-file.ts';

export interface HandleContext {
  idBase: number;
  change(fd: number, path: string, changes: FileChanges): Promise<void>;
}

/** Names the file first and opens it then, so that nothing but a regular file is ever opened. */
export async function openInRoot(
  root: number,
  path: string,
  options: OpenOptions,
  context: HandleContext,
): Promise<OpenFile> {
  const place = await placeToOpen(root, path, options, context.idBase);
  return openPlace(place, path, options, context);
}

/** Takes over the descriptor. */
export async function openPlace(
  place: number,
  path: string,
  options: OpenOptions,
  context: HandleContext,
): Promise<OpenFile> {
  try {
    refuseSpecial(fstatSync(place), path);
    await refuseKernelFile(place, path);
    // Not to block: see `reopen`.
    const flags = accessMode(options) | constants.O_NONBLOCK | constants.O_NOCTTY;
    return openFile(await open(`/proc/self/fd/${place}`, flags), path, context);
  } catch (error) {
    throw errnoOf(error) === 'EAGAIN' ? leaseHeld(error) : error;
  } finally {
    closeSync(place);
  }
}

function accessMode({ read, write, append, truncate }: OpenOptions): number {
  const mode = write || append ? (read ? constants.O_RDWR : constants.O_WRONLY) : constants.O_RDONLY;
  return mode | (append ? constants.O_APPEND : 0) | (truncate ? constants.O_TRUNC : 0);
}

async function placeToOpen(root: number, path: string, { create }: OpenOptions, idBase: number): Promise<number> {
  if (create === undefined) return locate(root, path);
  if (create.exclusive !== true) {
    try {
      return locate(root, path);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }
  return withPlace(root, path, async (directory, name) => {
    await refuseKernelFile(directory, path);
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const fd = makeIn(directory, () => openat2(directory, name, { flags, mode: 0o600, resolve: PLAIN_NAME }));
    try {
      await applyOwner(fd, create, idBase);
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  });
}

async function applyOwner(fd: number, { mode, owner }: NonNullable<OpenOptions['create']>, idBase: number) {
  const handle = `/proc/self/fd/${fd}`;
  await chown(handle, idBase + owner.uid, idBase + owner.gid);
  await chmod(handle, mode & 0o777);
}

function openFile(handle: FileHandle, path: string, context: HandleContext): OpenFile {
  const told = async <T>(work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      throw fileError(error, path);
    }
  };
  return {
    stat: () => told(handle.stat().then((stats) => fileStat(stats, context.idBase))),
    read: (position, length) => told(readAt(handle, position, length)),
    write: (position, bytes) => told(writeAt(handle, position, bytes)),
    change: (changes) => told(context.change(handle.fd, path, changes)),
    sync: () => told(handle.sync()),
    close: () => handle.close(),
  };
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}

async function writeAt(handle: FileHandle, position: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}
