import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { errnoOf } from '../../platform/errors.ts';
import { decodeRecord, indexOfRecord, MAX_RECORD_BYTES } from './log-record.ts';

const LINE_FEED = 0x0a;
const BLOCK_BYTES = 64 * 1024;
const PEEK_BYTES = 4 * 1024;

export interface OpenedLog {
  handle: FileHandle;
  /** Where the next record goes. */
  size: number;
  /** The index of the next record. */
  next: number;
}

/** Opens a log to go on behind its last whole line: a record that a crash tore and the mark of the end are cut off. Undefined where there is none. */
export async function openToAppend(path: string, { create }: { create: boolean }): Promise<OpenedLog | undefined> {
  const handle = await openIfThere(path, constants.O_RDWR | (create ? constants.O_CREAT : 0));
  if (handle === undefined) return undefined;
  try {
    const { size: found } = await handle.stat();
    const { size, next } = await lastWhole(handle, found);
    if (size < found) await handle.truncate(size);
    return { handle, size, next };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

export async function openIfThere(path: string, flags: number = constants.O_RDONLY): Promise<FileHandle | undefined> {
  try {
    return await open(path, flags | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' && (flags & constants.O_CREAT) === 0) return undefined;
    throw error;
  }
}

async function lastWhole(handle: FileHandle, found: number): Promise<{ size: number; next: number }> {
  let size = await behindLineFeed(handle, found);
  while (size > 0) {
    const start = await behindLineFeed(handle, size - 1);
    const length = Math.min(size - 1 - start, MAX_RECORD_BYTES);
    const record = decodeRecord((await readAt(handle, start, length)).toString());
    if (record !== undefined && record !== 'end') return { size, next: record.index + 1 };
    size = start;
  }
  return { size: 0, next: 0 };
}

/** The place behind the last line feed before `end`. */
async function behindLineFeed(handle: FileHandle, end: number): Promise<number> {
  for (let to = end; to > 0; ) {
    const from = Math.max(0, to - BLOCK_BYTES);
    const at = (await readAt(handle, from, to - from)).lastIndexOf(LINE_FEED);
    if (at !== -1) return from + at + 1;
    to = from;
  }
  return 0;
}

/**
 * A place not far before the record with this index or, where there is none, the next one. Records begin with their indexes, so the file is its own
 * index, and searching it by halves needs nothing that a restart could lose.
 */
export async function placeNear(handle: FileHandle, index: number): Promise<number> {
  if (index <= 0) return 0;
  let before = 0;
  for (let { size: end } = await handle.stat(); end - before > BLOCK_BYTES; ) {
    const middle = Math.floor((before + end) / 2);
    const record = await firstRecordFrom(handle, middle);
    if (record !== undefined && record.index < index) before = record.place;
    else end = middle;
  }
  return before;
}

async function firstRecordFrom(
  handle: FileHandle,
  place: number,
): Promise<{ place: number; index: number } | undefined> {
  for (const length of [PEEK_BYTES, MAX_RECORD_BYTES + PEEK_BYTES]) {
    const block = await readAt(handle, place, length);
    const at = block.indexOf(LINE_FEED) + 1;
    if (at === 0) continue;
    const index = indexOfRecord(block.toString('latin1', at, at + 20));
    if (index !== undefined) return { place: place + at, index };
  }
  return undefined;
}

/** Less than asked for at the end of the file only. */
export async function readAt(handle: FileHandle, place: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, place + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

/** Never raises: tells how much was written before the error. */
export async function writeAt(
  handle: FileHandle,
  place: number,
  data: Buffer,
): Promise<{ written: number; error: unknown }> {
  let written = 0;
  try {
    while (written < data.length) {
      const { bytesWritten } = await handle.write(data, written, data.length - written, place + written);
      written += bytesWritten;
    }
    return { written, error: undefined };
  } catch (error) {
    return { written, error };
  }
}
