import { randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../platform/errors.ts';

/** Most outputs are small; only what is beyond this costs a file. */
const MEMORY_BYTES = 1024 * 1024;
const READ_BYTES = 64 * 1024;

/**
 * The output of one command, of any size, at flat memory: its beginning in memory, the rest in a file that has no name, so that
 * it is gone with the process that holds it. Past the bound it is counted and dropped.
 */
export class OutputSpool {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #head: Buffer[] = [];
  #headBytes = 0;
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #dropped = 0;
  #failure: string | undefined;
  #closed = false;
  #tail: Promise<void> = Promise.resolve();

  constructor(options: { directory: string; maxBytes: number }) {
    this.#directory = options.directory;
    this.#maxBytes = options.maxBytes;
  }

  /** Resolves when there is room for more. Calls at the same time keep their order. Never rejects: a full disk drops the rest. */
  write(chunk: Buffer): Promise<void> {
    this.#tail = this.#tail.then(() => this.#append(chunk));
    return this.#tail;
  }

  /** The whole output where it fitted into memory. */
  get small(): Buffer | undefined {
    return this.#file === undefined && this.#dropped === 0 ? Buffer.concat(this.#head) : undefined;
  }

  async *read(): AsyncGenerator<Buffer> {
    await this.#tail;
    yield* this.#head;
    const buffer = Buffer.alloc(READ_BYTES);
    for (let at = 0; this.#file !== undefined && at < this.#fileBytes; ) {
      const { bytesRead } = await this.#file.read(buffer, 0, Math.min(READ_BYTES, this.#fileBytes - at), at);
      if (bytesRead === 0) break;
      at += bytesRead;
      yield Buffer.from(buffer.subarray(0, bytesRead));
    }
    if (this.#dropped > 0) {
      const why = this.#failure ?? `the limit is ${this.#maxBytes} bytes`;
      yield Buffer.from(`\n[output truncated: ${this.#dropped} more bytes were dropped, ${why}]\n`);
    }
  }

  /** What is written from now on is dropped: a reader of the command's pipes may come with one more piece. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#tail;
    await this.#file?.close();
    this.#file = undefined;
    this.#head.length = 0;
  }

  async #append(chunk: Buffer): Promise<void> {
    if (this.#closed) return;
    const room = this.#maxBytes - this.#headBytes - this.#fileBytes;
    const taken = this.#failure === undefined ? chunk.subarray(0, Math.max(0, room)) : chunk.subarray(0, 0);
    const inMemory =
      this.#file === undefined ? taken.subarray(0, MEMORY_BYTES - this.#headBytes) : taken.subarray(0, 0);
    if (inMemory.length > 0) {
      this.#head.push(Buffer.from(inMemory));
      this.#headBytes += inMemory.length;
    }
    const rest = taken.subarray(inMemory.length);
    const written = rest.length > 0 ? await this.#spill(rest) : 0;
    this.#dropped += chunk.length - inMemory.length - written;
  }

  async #spill(chunk: Buffer): Promise<number> {
    let written = 0;
    try {
      this.#file ??= await openUnnamed(this.#directory);
      while (written < chunk.length) {
        const { bytesWritten } = await this.#file.write(chunk, written, chunk.length - written, this.#fileBytes);
        written += bytesWritten;
        this.#fileBytes += bytesWritten;
      }
    } catch (error) {
      this.#failure = `keeping it failed: ${messageOf(error)}`;
    }
    return written;
  }
}

async function openUnnamed(directory: string): Promise<FileHandle> {
  const path = join(directory, `output-${randomUUID()}`);
  const file = await open(path, 'wx+', 0o600);
  await unlink(path);
  return file;
}
