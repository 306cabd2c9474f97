import { closeSync, constants, readlink, type Stats } from 'node:fs';
import { chmod, chown, type FileHandle, open, utimes } from 'node:fs/promises';
import { promisify } from 'node:util';
import { errnoOf, invalidRequest } from '../../platform/errors.ts';
import { makeFifoAt, openat2, symlinkAt } from '../../platform/libc-files.ts';
import { leaseHeld } from './container-root.ts';
import { entriesIn, openDirectoryAt, pathInDirectory } from './directory-names.ts';
import { type Entry, lookUp, makeIn, onOneMount, PLAIN_NAME } from './directory-place.ts';
import { makeDirectoryAt } from './file-make.ts';
import { nameOfBytes } from './name-bytes.ts';
import { refuseKernelFile } from './regular-file.ts';

const readLinkAsync = promisify<Buffer, { encoding: 'buffer' }, Buffer>(readlink);

export interface Place {
  directory: number;
  name: Buffer;
}

const CHUNK = 1024 * 1024;
const ZEROES = Buffer.alloc(CHUNK);
/** Each level holds two descriptors. */
const MAX_DEPTH = 512;

/**
 * Copies a file, link, FIFO or whole directory to a name that is not there yet, with owners, permissions and times. What it
 * leaves when it fails is the caller's to remove.
 */
export async function copyEntry(from: Place, to: Place, signal: AbortSignal, depth = 0): Promise<void> {
  signal.throwIfAborted();
  if (depth > MAX_DEPTH) throw invalidRequest(`directories deeper than ${MAX_DEPTH} cannot be copied`);
  const source = lookUp(from.directory, from.name);
  if (source === undefined) return;
  try {
    if (!onOneMount(source.fd, from.directory)) throw invalidRequest(`${nameOfBytes(from.name)} is a mount point`);
    const { stats } = source;
    if (stats.isDirectory()) await copyDirectory(from, to, { stats, signal, depth });
    else if (stats.isFile()) await copyFile(source, to, signal);
    else if (stats.isSymbolicLink()) await copyLink(from, to);
    else if (stats.isFIFO()) makeIn(to.directory, () => makeFifoAt(to.directory, to.name));
    else throw invalidRequest(`${nameOfBytes(from.name)} is a socket or a device and cannot be copied`);
    await makeLike(to, stats);
  } finally {
    closeSync(source.fd);
  }
}

async function copyDirectory(
  from: Place,
  to: Place,
  { stats, signal, depth }: { stats: Stats; signal: AbortSignal; depth: number },
): Promise<void> {
  const source = openDirectoryAt(from.directory, from.name);
  if (source === undefined) return;
  try {
    const target = makeDirectoryAt(to.directory, to.name, { mode: 0o700, owner: { uid: stats.uid, gid: stats.gid } });
    try {
      for await (const batch of entriesIn(source)) {
        for (const { name } of batch) {
          await copyEntry({ directory: source, name }, { directory: target, name }, signal, depth + 1);
        }
      }
    } finally {
      closeSync(target);
    }
  } finally {
    closeSync(source);
  }
}

async function copyFile(source: Entry, to: Place, signal: AbortSignal): Promise<void> {
  await refuseKernelFile(source.fd, nameOfBytes(to.name));
  await using reader = await openNow(source.fd, constants.O_RDONLY);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const made = makeIn(to.directory, () => openat2(to.directory, to.name, { flags, mode: 0o600, resolve: PLAIN_NAME }));
  try {
    await using writer = await openNow(made, constants.O_WRONLY);
    await pour(reader, writer, signal);
  } finally {
    closeSync(made);
  }
}

async function openNow(fd: number, flags: number): Promise<FileHandle> {
  try {
    return await open(`/proc/self/fd/${fd}`, flags | constants.O_NONBLOCK);
  } catch (error) {
    throw errnoOf(error) === 'EAGAIN' ? leaseHeld(error) : error;
  }
}

/** Holes stay holes. */
async function pour(reader: FileHandle, writer: FileHandle, signal: AbortSignal): Promise<void> {
  const chunk = Buffer.allocUnsafe(CHUNK);
  for (let position = 0; ; ) {
    signal.throwIfAborted();
    const { bytesRead } = await reader.read(chunk, 0, CHUNK, position);
    if (bytesRead === 0) return writer.truncate(position);
    const bytes = chunk.subarray(0, bytesRead);
    if (!bytes.equals(ZEROES.subarray(0, bytesRead))) {
      for (let done = 0; done < bytesRead; ) {
        done += (await writer.write(bytes, done, bytesRead - done, position + done)).bytesWritten;
      }
    }
    position += bytesRead;
  }
}

async function copyLink(from: Place, to: Place): Promise<void> {
  const target = await readLinkAsync(pathInDirectory(from.directory, from.name), { encoding: 'buffer' });
  makeIn(to.directory, () => symlinkAt(target, to.directory, to.name));
}

/** Through a descriptor of exactly what was made; a link's own owner is set, never that of what it leads to. */
async function makeLike(to: Place, stats: Stats): Promise<void> {
  const made = lookUp(to.directory, to.name);
  if (made === undefined) return;
  try {
    if ((made.stats.mode & constants.S_IFMT) !== (stats.mode & constants.S_IFMT)) return;
    const itself = `/proc/self/fd/${made.fd}`;
    await chown(itself, stats.uid, stats.gid);
    if (stats.isSymbolicLink()) return;
    await chmod(itself, stats.mode & 0o7777);
    await utimes(itself, stats.atimeMs / 1000, stats.mtimeMs / 1000);
  } finally {
    closeSync(made.fd);
  }
}
