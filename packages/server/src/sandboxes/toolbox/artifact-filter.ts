/** Chart libraries in a sandbox print their charts as lines that begin so. */
const PREFIX = Buffer.from('dtn_artifact_k39fd2:');
const NEWLINE = 0x0a;
/** A line longer than this is no chart that anybody can show; the rest of it is passed on as it is. */
const MAX_LINE_BYTES = 32 * 1024 * 1024;

/** Takes artifact lines out of an output that comes in pieces, and keeps the charts in them. */
export class ArtifactFilter {
  readonly charts: unknown[] = [];
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** `start`: at the start of a line, undecided; `artifact`: inside an artifact line; `text`: inside another line. */
  #mode: 'start' | 'artifact' | 'text' = 'start';

  /** What of this piece, and of held ones before it, is output. */
  push(chunk: Buffer): Buffer[] {
    const output: Buffer[] = [];
    let rest = chunk;
    while (rest.length > 0) {
      const newline = rest.indexOf(NEWLINE);
      const end = newline === -1 ? rest.length : newline + 1;
      this.#take(rest.subarray(0, end), newline !== -1, output);
      rest = rest.subarray(end);
    }
    return output;
  }

  /** What was held when the output ended. */
  end(): Buffer[] {
    const output: Buffer[] = [];
    if (this.#mode === 'artifact') this.#finishArtifact(output);
    else this.#release(output);
    this.#mode = 'start';
    return output;
  }

  #take(piece: Buffer, endsLine: boolean, output: Buffer[]): void {
    if (this.#mode === 'text') {
      output.push(piece);
      if (endsLine) this.#mode = 'start';
      return;
    }
    this.#held.push(piece);
    this.#heldBytes += piece.length;
    if (this.#mode === 'start') this.#decide(output);
    if (this.#mode === 'artifact' && this.#heldBytes > MAX_LINE_BYTES) {
      this.#release(output);
      this.#mode = 'text';
    }
    if (!endsLine) return;
    if (this.#mode === 'artifact') this.#finishArtifact(output);
    else this.#release(output);
    this.#mode = 'start';
  }

  #decide(output: Buffer[]): void {
    const start = this.#heldBytes === this.#held[0]?.length ? this.#held[0] : Buffer.concat(this.#held);
    const compared = Math.min(start.length, PREFIX.length);
    if (start.compare(PREFIX, 0, compared, 0, compared) !== 0) {
      this.#release(output);
      this.#mode = 'text';
    } else if (compared === PREFIX.length) {
      this.#mode = 'artifact';
    }
  }

  #finishArtifact(output: Buffer[]): void {
    const line = Buffer.concat(this.#held).subarray(PREFIX.length).toString('utf8');
    const chart = parseChart(line);
    if (chart !== undefined) {
      this.charts.push(chart);
      this.#held = [];
    }
    this.#release(output);
  }

  #release(output: Buffer[]): void {
    output.push(...this.#held);
    this.#held = [];
    this.#heldBytes = 0;
  }
}

function parseChart(line: string): unknown {
  try {
    const artifact: unknown = JSON.parse(line);
    if (typeof artifact !== 'object' || artifact === null || !('type' in artifact)) return undefined;
    return artifact.type === 'chart' && 'value' in artifact ? artifact.value : undefined;
  } catch {
    return undefined;
  }
}
