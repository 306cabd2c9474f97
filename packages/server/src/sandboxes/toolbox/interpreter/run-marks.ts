/** What is found in an output: a piece of it, or what stood behind the mark of a run. */
export type Found = { text: Buffer } | { ending: Buffer };

const MARK_BYTE = 0x1e;
const NEWLINE = 0x0a;
/** Longer than any ending that the driver writes. */
const MAX_ENDING_BYTES = 1024 * 1024;

/** Finds the mark that ends a run in an output that comes in pieces; everything before it and behind its line is text. */
export class RunMarks {
  #mark: Buffer | undefined;
  #held: Buffer = Buffer.alloc(0);
  #inEnding = false;

  /** From now on this one ends a run, once. */
  expect(run: string): void {
    this.#mark = Buffer.from(`\x1e${run}\x1e`);
  }

  push(chunk: Buffer): Found[] {
    let rest = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = Buffer.alloc(0);
    const found: Found[] = [];
    const text = (piece: Buffer) => {
      if (piece.length > 0) found.push({ text: piece });
    };
    if (!this.#inEnding) {
      const at = this.#mark === undefined ? -1 : rest.indexOf(this.#mark);
      if (this.#mark === undefined || at === -1) {
        const kept = this.#mark === undefined ? 0 : startOf(this.#mark, rest);
        text(rest.subarray(0, rest.length - kept));
        this.#held = Buffer.from(rest.subarray(rest.length - kept));
        return found;
      }
      text(rest.subarray(0, at));
      rest = rest.subarray(at + this.#mark.length);
      this.#mark = undefined;
      this.#inEnding = true;
    }
    const newline = rest.indexOf(NEWLINE);
    if (newline === -1 && rest.length <= MAX_ENDING_BYTES) {
      this.#held = Buffer.from(rest);
      return found;
    }
    const end = newline === -1 ? rest.length : newline;
    found.push({ ending: Buffer.from(rest.subarray(0, end)) });
    this.#inEnding = false;
    text(rest.subarray(end + 1));
    return found;
  }
}

/** How many bytes at the end of `text` may be the start of `mark`. */
function startOf(mark: Buffer, text: Buffer): number {
  for (let at = Math.max(0, text.length - mark.length + 1); at < text.length; at += 1) {
    at = text.indexOf(MARK_BYTE, at);
    if (at === -1) return 0;
    if (mark.compare(text, at, text.length, 0, text.length - at) === 0) return text.length - at;
  }
  return 0;
}
