/**
 * What the expansion of one word may cost. A Dockerfile is a stranger's text: variables can double themselves from line to line, and patterns
 * over long values can keep a thread busy.
 */
export interface ExpansionBudget {
  /** Characters that came out, also inside of expressions. Raises what `fail` makes when there are too many. */
  produce(count: number): void;
  /** Steps of patterns. */
  spend(count: number): void;
  /** Runs one level deeper, in an expression inside of an expression. */
  deeper<T>(run: () => T): T;
}

/** What is left of what all words of a stage, or of the lines that say what is built, may take together; it goes down with each. */
export interface SharedWork {
  left: number;
}

/** A fraction of a second. */
export const sharedWork = (): SharedWork => ({ left: 4_000_000 });

/** More than any program can be started with. */
const MAX_CHARS = 1024 * 1024;
const STEPS = 100_000;
const STEPS_FOR_EACH_CHAR = 20;
/** Every level reads its text once more. */
const MAX_DEPTH = 12;
/** Characters are copied by the block; patterns go through them one by one. */
const CHARS_FOR_A_STEP = 32;

export function expansionBudget(
  text: string,
  shared: SharedWork | undefined,
  fail: (message: string) => Error,
): ExpansionBudget {
  let chars = 0;
  let steps = 0;
  let depth = 0;
  const most = STEPS + STEPS_FOR_EACH_CHAR * text.length;
  const share = (count: number) => {
    if (shared === undefined) return;
    shared.left -= count;
    if (shared.left < 0) throw fail('there are too many and too long variables to replace');
  };
  return {
    produce(count) {
      share(count / CHARS_FOR_A_STEP);
      chars += count;
      if (chars > MAX_CHARS) throw fail(`with its variables replaced it is longer than ${MAX_CHARS} characters`);
    },
    spend(count) {
      share(count);
      steps += count;
      if (steps > most) throw fail('the values are too long for the patterns that they are matched with');
    },
    deeper(run) {
      if (depth === MAX_DEPTH) throw fail(`expressions lie more than ${MAX_DEPTH} deep in each other`);
      depth += 1;
      try {
        return run();
      } finally {
        depth -= 1;
      }
    },
  };
}
