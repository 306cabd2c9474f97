import { type FindBytes, findBytes } from './find-bytes.ts';

/** Where a text is in a file. */
export interface LineMatch {
  /** From 1. */
  line: number;
  content: Buffer;
}

const NEWLINE = 0x0a;
/** A longer line is looked through in pieces. */
const MAX_LINE = 1024 * 1024;
const MAX_CONTENT = 2000;

/** The lines of a file that have a text, the file given in chunks; memory is bounded by a chunk and `MAX_LINE`. */
export class TextLines {
  readonly #pattern: Buffer;
  readonly #find: FindBytes;
  /** What follows the last newline. */
  #rest: Buffer = Buffer.alloc(0);
  #line = 1;
  /** The line that `#rest` goes on has been told of. */
  #told = false;

  constructor(pattern: Buffer) {
    this.#pattern = pattern;
    this.#find = findBytes(pattern);
  }

  *push(chunk: Buffer): Generator<LineMatch> {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    yield* this.#search(bytes.subarray(0, end));
    const rest = bytes.subarray(end);
    if (rest.length <= MAX_LINE) this.#rest = Buffer.from(rest);
    else {
      yield* this.#search(rest);
      // A match may lie across the cut.
      this.#rest = Buffer.from(rest.subarray(rest.length - this.#pattern.length + 1));
    }
  }

  *end(): Generator<LineMatch> {
    yield* this.#search(this.#rest);
  }

  *#search(bytes: Buffer): Generator<LineMatch> {
    let counted = 0;
    const countTo = (end: number) => {
      for (; counted < end; counted += 1) {
        if (bytes[counted] !== NEWLINE) continue;
        this.#line += 1;
        this.#told = false;
      }
    };
    for (let from = 0; from < bytes.length; ) {
      const hit = this.#find(bytes, from);
      if (hit === -1) break;
      countTo(hit);
      const start = hit === 0 ? 0 : bytes.lastIndexOf(NEWLINE, hit - 1) + 1;
      const newline = bytes.indexOf(NEWLINE, hit);
      const end = newline === -1 ? bytes.length : newline;
      if (!this.#told) yield { line: this.#line, content: cut(bytes.subarray(start, end), hit - start) };
      this.#told = true;
      from = end + 1;
    }
    countTo(bytes.length);
  }
}

/** Of a very long line the part with the match. */
function cut(line: Buffer, hit: number): Buffer {
  if (line.length <= MAX_CONTENT) return Buffer.from(line);
  const start = Math.max(0, Math.min(hit - MAX_CONTENT / 2, line.length - MAX_CONTENT));
  return Buffer.from(line.subarray(start, start + MAX_CONTENT));
}
