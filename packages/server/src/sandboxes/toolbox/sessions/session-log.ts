import { ChangeSignal } from '../../../platform/change-signal.ts';
import { messageOf } from '../../../platform/errors.ts';
import { fileSegment, type LogSegment, memorySegment } from './log-segment.ts';

export type OutputStream = 'stdout' | 'stderr';

export interface OutputPiece {
  stream: OutputStream;
  data: Buffer;
}

/** Most sessions write little; only what is beyond this costs a file. */
const MEMORY_BYTES = 64 * 1024;
const SEGMENTS = 8;
const MAX_PIECE_BYTES = 32 * 1024;
/** Before each piece: which stream, and how many bytes. */
const HEADER_BYTES = 5;
const READ_BYTES = 4 * (HEADER_BYTES + MAX_PIECE_BYTES);
const NOTE_BYTES = 1024;

/**
 * What a session's commands wrote, in the order in which it came, at flat memory and bounded on disk: when it is full, the oldest
 * is dropped. Positions count from the beginning of the session and stay valid; who reads what was dropped gets a note instead.
 */
export class SessionLog {
  readonly #directory: string;
  readonly #maxBytes: number;
  readonly #segments: LogSegment[] = [];
  #end = 0;
  #tail: Promise<void> = Promise.resolve();
  #failing = false;
  #closed = false;
  #readers = 0;
  /** Of the log, and of what its owner tells of by `notify`. */
  readonly changes = new ChangeSignal();

  constructor(options: { directory: string; maxBytes: number }) {
    this.#directory = options.directory;
    this.#maxBytes = Math.max(options.maxBytes, 2 * MEMORY_BYTES);
  }

  /** Where the next piece will be. */
  get end(): number {
    return this.#end;
  }

  /** Resolves when there is room for more. Calls at the same time keep their order. Never rejects: a full disk loses output. */
  append(stream: OutputStream, data: Buffer): Promise<void> {
    this.#tail = this.#tail.then(() => this.#append(stream, data));
    return this.#tail;
  }

  async *read(from: number, to: number): AsyncGenerator<OutputPiece> {
    this.#readers += 1;
    try {
      yield* this.#read(from, to);
    } finally {
      this.#readers -= 1;
      if (this.#closed) await this.#closeSegments();
    }
  }

  /** What is read already is read to its end; nothing more is taken. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#tail;
    this.changes.notify();
    await this.#closeSegments();
  }

  async *#read(from: number, to: number): AsyncGenerator<OutputPiece> {
    for (let at = from; at < to; ) {
      const segment = this.#segments.find(({ start, size }) => at < start + size);
      if (segment === undefined) return;
      if (at < segment.start) {
        yield { stream: 'stderr', data: droppedNote(Math.min(segment.start, to) - at) };
        at = segment.start;
        continue;
      }
      let block: Buffer;
      try {
        block = await segment.read(at - segment.start, READ_BYTES);
      } catch (error) {
        // Dropped while it was read.
        if (!this.#segments.includes(segment)) continue;
        throw error;
      }
      let used = 0;
      for (const { piece, next } of pieces(block)) {
        if (at + used >= to) return;
        used = next;
        yield piece;
      }
      if (used === 0) throw new Error('a log of a session is broken');
      at += used;
    }
  }

  async #append(stream: OutputStream, data: Buffer): Promise<void> {
    if (this.#closed) return;
    for (let at = 0; at < data.length; at += MAX_PIECE_BYTES) {
      const record = recordOf(stream, data.subarray(at, at + MAX_PIECE_BYTES));
      try {
        const segment = await this.#segmentFor(record.length);
        await segment.append(record);
        this.#end += record.length;
        this.#failing = false;
      } catch (error) {
        await this.#noteLoss(error);
      }
    }
    await this.#dropOldest();
    this.changes.notify();
  }

  async #segmentFor(bytes: number): Promise<LogSegment> {
    const last = this.#segments.at(-1);
    if (last !== undefined && last.size + bytes <= last.capacity) return last;
    const capacity = Math.max(Math.ceil(this.#maxBytes / SEGMENTS), HEADER_BYTES + MAX_PIECE_BYTES);
    const segment =
      last === undefined
        ? memorySegment(this.#end, MEMORY_BYTES)
        : await fileSegment(this.#end, capacity, this.#directory);
    this.#segments.push(segment);
    return segment;
  }

  /** Once, until something could be kept again. */
  async #noteLoss(cause: unknown): Promise<void> {
    if (this.#failing) return;
    this.#failing = true;
    const segment = memorySegment(this.#end, NOTE_BYTES);
    const text = `\n[output is lost here, keeping it failed: ${messageOf(cause).slice(0, NOTE_BYTES / 4)}]\n`;
    await segment.append(recordOf('stderr', Buffer.from(text)));
    this.#segments.push(segment);
    this.#end += segment.size;
  }

  async #dropOldest(): Promise<void> {
    const first = () => this.#segments[0];
    for (let oldest = first(); oldest !== undefined && this.#segments.length > 1; oldest = first()) {
      if (this.#end - oldest.start <= this.#maxBytes) return;
      this.#segments.shift();
      await oldest.close().catch(() => {});
    }
  }

  async #closeSegments(): Promise<void> {
    if (this.#readers > 0) return;
    for (const segment of this.#segments.splice(0)) await segment.close().catch(() => {});
  }
}

function recordOf(stream: OutputStream, data: Buffer): Buffer {
  const record = Buffer.allocUnsafe(HEADER_BYTES + data.length);
  record.writeUInt8(stream === 'stdout' ? 1 : 2, 0);
  record.writeUInt32LE(data.length, 1);
  data.copy(record, HEADER_BYTES);
  return record;
}

/** The whole pieces of a block that begins with one; `next` is where the one behind it begins. */
function* pieces(block: Buffer): Generator<{ piece: OutputPiece; next: number }> {
  for (let at = 0; at + HEADER_BYTES <= block.length; ) {
    const next = at + HEADER_BYTES + block.readUInt32LE(at + 1);
    if (next > block.length) return;
    const stream = block.readUInt8(at) === 1 ? 'stdout' : 'stderr';
    yield { piece: { stream, data: block.subarray(at + HEADER_BYTES, next) }, next };
    at = next;
  }
}

const droppedNote = (bytes: number) => Buffer.from(`[output truncated: about ${bytes} earlier bytes were dropped]\n`);
