/** How a terminal's process ended. */
export interface TerminalEnd {
  exitCode: number;
  /** For a person; undefined when there is nothing to say. */
  reason: string | undefined;
}

/** Somebody who looks at a terminal. Nothing is called after `end` or `cut`. */
export interface TerminalViewer {
  /** False: no more until `drained` of the seat is called. */
  show(chunk: Buffer): boolean;
  end(end: TerminalEnd): void;
  /** It did not take what was shown for too long, and is not attached any more. */
  cut(): void;
}

/** One that takes nothing for this long is gone, most likely, and must not hold up the others and the program for ever. */
const STALL_MS = 60_000;

/** Those that look at one terminal. The slowest sets the pace: `flow` says whether all of them take more. */
export class Viewers {
  readonly #held = new Map<TerminalViewer, NodeJS.Timeout | undefined>();
  readonly #flow: (open: boolean) => void;

  constructor(flow: (open: boolean) => void) {
    this.#flow = flow;
  }

  get size(): number {
    return this.#held.size;
  }

  get isHeld(): boolean {
    return [...this.#held.values()].some((timer) => timer !== undefined);
  }

  has(viewer: TerminalViewer): boolean {
    return this.#held.has(viewer);
  }

  add(viewer: TerminalViewer): void {
    this.#held.set(viewer, undefined);
  }

  remove(viewer: TerminalViewer): void {
    clearTimeout(this.#held.get(viewer));
    if (this.#held.delete(viewer) && !this.isHeld) this.#flow(true);
  }

  show(chunk: Buffer): void {
    for (const viewer of [...this.#held.keys()]) this.showTo(viewer, chunk);
  }

  showTo(viewer: TerminalViewer, chunk: Buffer): void {
    if (viewer.show(chunk) || !this.#held.has(viewer)) return;
    const timer = setTimeout(() => {
      this.remove(viewer);
      viewer.cut();
    }, STALL_MS);
    timer.unref();
    clearTimeout(this.#held.get(viewer));
    this.#held.set(viewer, timer);
    this.#flow(false);
  }

  drained(viewer: TerminalViewer): void {
    const timer = this.#held.get(viewer);
    if (timer === undefined) return;
    clearTimeout(timer);
    this.#held.set(viewer, undefined);
    if (!this.isHeld) this.#flow(true);
  }

  endAll(end: TerminalEnd): void {
    const viewers = [...this.#held.keys()];
    for (const timer of this.#held.values()) clearTimeout(timer);
    this.#held.clear();
    for (const viewer of viewers) viewer.end(end);
  }
}
