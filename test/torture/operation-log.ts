const MOST_LINES = 4_000;

/** What the clients asked for and what they were told, for whoever looks for the cause of a failure. */
export class OperationLog {
  #lines: string[] = [];
  #since = performance.now();

  add(line: string): void {
    const seconds = ((performance.now() - this.#since) / 1000).toFixed(3);
    this.#lines.push(`${seconds} ${line.replaceAll('\n', '\\n')}`);
    if (this.#lines.length > MOST_LINES * 2) this.#lines = this.#lines.slice(-MOST_LINES);
  }

  toString(): string {
    return this.#lines.slice(-MOST_LINES).join('\n');
  }
}
