/** The last bytes of an output that nobody watches, at bounded memory. */
export class UnseenOutput {
  readonly #maxBytes: number;
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  push(chunk: Buffer): void {
    this.#pieces.push(chunk);
    this.#bytes += chunk.length;
    while (this.#bytes > this.#maxBytes) {
      const [oldest] = this.#pieces;
      if (oldest === undefined) return;
      const surplus = this.#bytes - this.#maxBytes;
      if (oldest.length <= surplus) this.#pieces.shift();
      else this.#pieces[0] = oldest.subarray(surplus);
      this.#bytes -= Math.min(oldest.length, surplus);
    }
  }

  /** Gives it away: it is seen then. */
  take(): Buffer {
    const taken = Buffer.concat(this.#pieces);
    this.#pieces = [];
    this.#bytes = 0;
    return taken;
  }
}
