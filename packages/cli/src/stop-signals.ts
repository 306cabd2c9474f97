/** A launcher that forwards, and a terminal or a supervisor that signals the whole group, both send one wish twice. */
const SAME_WISH_MS = 250;
const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/** Resolves with the first signal that asks for the end. A second one, a moment later, ends the process at once. */
export function untilStopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let firstAt: number | undefined;
    for (const signal of SIGNALS) {
      process.on(signal, () => {
        if (firstAt === undefined) {
          firstAt = performance.now();
          resolve(signal);
        } else if (performance.now() - firstAt > SAME_WISH_MS) {
          process.stderr.write('darkroom: ending at once\n');
          process.exit(1);
        }
      });
    }
  });
}
