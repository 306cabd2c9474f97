import { MARKER_BYTE } from './shell-program.ts';

export interface Marker {
  /** A command's number; `end` is the shell's own end. */
  name: number | 'end';
  status: number;
}

export type Scanned = { data: Buffer } | { marker: Marker };

/** `<number or end> <status>` and a newline. */
const BODY = /^(\d{1,10}|end) (\d{1,3})\n/;
const MAX_BODY_BYTES = 15;

/** Takes the markers out of one output of a session's shell, which comes in pieces and may hold any bytes. */
export class MarkerScanner {
  readonly #prefix: Buffer;
  #held: Buffer = Buffer.alloc(0);

  constructor(token: string) {
    this.#prefix = Buffer.from(`${MARKER_BYTE}${token} `);
  }

  push(chunk: Buffer): Scanned[] {
    const found: Scanned[] = [];
    let rest = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#held = Buffer.alloc(0);
    for (let from = 0; ; ) {
      const at = rest.indexOf(this.#prefix, from);
      if (at === -1) {
        const keep = this.#openEnd(rest);
        if (rest.length > keep) found.push({ data: rest.subarray(0, rest.length - keep) });
        this.#held = Buffer.from(rest.subarray(rest.length - keep));
        return found;
      }
      const body = rest.subarray(at + this.#prefix.length, at + this.#prefix.length + MAX_BODY_BYTES);
      const match = BODY.exec(body.toString('latin1'));
      if (match === null && body.length < MAX_BODY_BYTES && !body.includes(0x0a)) {
        if (at > 0) found.push({ data: rest.subarray(0, at) });
        this.#held = Buffer.from(rest.subarray(at));
        return found;
      }
      if (match === null) {
        from = at + 1;
        continue;
      }
      if (at > 0) found.push({ data: rest.subarray(0, at) });
      const [whole, name = '', status = ''] = match;
      found.push({ marker: { name: name === 'end' ? 'end' : Number(name), status: Number(status) } });
      rest = rest.subarray(at + this.#prefix.length + whole.length);
      from = 0;
    }
  }

  /** What was held back as a possible beginning of a marker when the output ended. */
  end(): Buffer {
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    return held;
  }

  /** How many bytes at the end could begin a marker. */
  #openEnd(bytes: Buffer): number {
    for (let length = Math.min(bytes.length, this.#prefix.length - 1); length > 0; length -= 1) {
      if (bytes.compare(this.#prefix, 0, length, bytes.length - length) === 0) return length;
    }
    return 0;
  }
}
