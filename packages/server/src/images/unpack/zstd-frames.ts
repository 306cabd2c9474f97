/**
 * Node's zstd stream ends, without an error, at the end of a frame when the same write goes on after it (zlib's own does
 * not). Layers of many frames are real: zstd:chunked and parallel compressors write them. So no chunk that comes out of
 * here goes past the end of a frame; where frames end is read from their block headers (RFC 8878, section 3.1).
 */
export async function* splitZstdFrames(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const walker = new FrameWalker();
  for await (const chunk of chunks) {
    let start = 0;
    while (start < chunk.length) {
      const end = walker.advance(chunk, start);
      yield chunk.subarray(start, end);
      start = end;
    }
  }
}

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
const SKIPPABLE_MASK = 0xfffffff0;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];

class FrameWalker {
  readonly #field = Buffer.alloc(4);
  #fieldHave = 0;
  #fieldWant = 4;
  #takeField: () => void = () => this.#takeMagic();
  /** Bytes of no interest before the next field. */
  #pass = 0;
  #hasChecksum = false;
  #frameEnded = false;

  /** The end of the frame that `start` is in, or of the chunk. */
  advance(chunk: Buffer, start: number): number {
    let at = start;
    while (at < chunk.length) {
      if (this.#pass > 0) {
        const count = Math.min(this.#pass, chunk.length - at);
        this.#pass -= count;
        at += count;
      } else {
        this.#field[this.#fieldHave++] = chunk[at++] ?? 0;
        if (this.#fieldHave === this.#fieldWant) {
          this.#fieldHave = 0;
          this.#takeField();
        }
      }
      if (this.#frameEnded && this.#pass === 0) {
        this.#frameEnded = false;
        return at;
      }
    }
    return at;
  }

  #next(want: number, take: () => void): void {
    this.#fieldWant = want;
    this.#takeField = take;
  }

  #endFrame(pass: number): void {
    this.#pass = pass;
    this.#frameEnded = true;
    this.#next(4, () => this.#takeMagic());
  }

  #takeMagic(): void {
    const magic = this.#field.readUInt32LE(0);
    if (magic === MAGIC) this.#next(1, () => this.#takeDescriptor());
    else if ((magic & SKIPPABLE_MASK) >>> 0 === SKIPPABLE) {
      this.#next(4, () => this.#endFrame(this.#field.readUInt32LE(0)));
    }
    // Not a frame: the decompressor says so when it gets there.
    else this.#pass = Number.POSITIVE_INFINITY;
  }

  #takeDescriptor(): void {
    const descriptor = this.#field[0] ?? 0;
    const singleSegment = (descriptor & 0x20) !== 0;
    const sizeFlag = descriptor >> 6;
    this.#hasChecksum = (descriptor & 0x04) !== 0;
    const contentSize = sizeFlag === 0 && singleSegment ? 1 : (CONTENT_SIZE_BYTES[sizeFlag] ?? 0);
    this.#pass = (singleSegment ? 0 : 1) + (DICTIONARY_ID_BYTES[descriptor & 0x03] ?? 0) + contentSize;
    this.#next(3, () => this.#takeBlock());
  }

  #takeBlock(): void {
    const header = this.#field.readUIntLE(0, 3);
    const isRunLength = ((header >> 1) & 0x03) === 1;
    const length = isRunLength ? 1 : header >> 3;
    if ((header & 1) === 1) this.#endFrame(length + (this.#hasChecksum ? 4 : 0));
    else this.#pass = length;
  }
}
