import { randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';

const FIRST_BYTES = 1024;

/** A piece of a log, of bounded size, in memory or in a file without a name, which is gone with the process that holds it. */
export interface LogSegment {
  /** Where in the log it begins. */
  readonly start: number;
  readonly capacity: number;
  readonly size: number;
  append(bytes: Buffer): Promise<void>;
  read(at: number, maxBytes: number): Promise<Buffer>;
  close(): Promise<void>;
}

export function memorySegment(start: number, capacity: number): LogSegment {
  let bytes = Buffer.alloc(0);
  let size = 0;
  return {
    start,
    capacity,
    get size() {
      return size;
    },
    async append(more) {
      if (size + more.length > bytes.length) {
        const grown = Buffer.alloc(Math.min(capacity, Math.max(FIRST_BYTES, 2 * bytes.length, size + more.length)));
        bytes.copy(grown, 0, 0, size);
        bytes = grown;
      }
      more.copy(bytes, size);
      size += more.length;
    },
    read: async (at, maxBytes) => Buffer.from(bytes.subarray(at, Math.min(size, at + maxBytes))),
    close: async () => {},
  };
}

export async function fileSegment(start: number, capacity: number, directory: string): Promise<LogSegment> {
  const file = await openUnnamed(directory);
  let size = 0;
  return {
    start,
    capacity,
    get size() {
      return size;
    },
    async append(bytes) {
      for (let written = 0; written < bytes.length; ) {
        written += (await file.write(bytes, written, bytes.length - written, size + written)).bytesWritten;
      }
      size += bytes.length;
    },
    async read(at, maxBytes) {
      const buffer = Buffer.alloc(Math.min(maxBytes, size - at));
      let read = 0;
      while (read < buffer.length) {
        const { bytesRead } = await file.read(buffer, read, buffer.length - read, at + read);
        if (bytesRead === 0) throw new Error('a log became shorter than what was written to it');
        read += bytesRead;
      }
      return buffer;
    },
    close: () => file.close(),
  };
}

async function openUnnamed(directory: string): Promise<FileHandle> {
  const path = join(directory, `output-${randomUUID()}`);
  const file = await open(path, 'wx+', 0o600);
  try {
    await unlink(path);
  } catch (error) {
    await file.close();
    throw error;
  }
  return file;
}
