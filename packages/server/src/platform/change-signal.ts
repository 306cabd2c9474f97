/** Something that changes again and again, and those that wait for the next change. None is missed: see `version`. */
export class ChangeSignal {
  #version = 0;
  readonly #waiting = new Set<() => void>();

  /** Look at it, then at what changes, then wait for a change since. */
  get version(): number {
    return this.#version;
  }

  notify(): void {
    this.#version += 1;
    for (const wake of [...this.#waiting]) wake();
  }

  /** Resolves at once when there was one, and when the signal fires. */
  changedSince(version: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener('abort', done, { once: true });
      if (signal.aborted || this.#version !== version) done();
    });
  }
}
