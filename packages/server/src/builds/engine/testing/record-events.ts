import type { BuildObserver, CacheUse, StepDescription } from '../../types.ts';

/** What an observer was told, step by step. */
export interface BuildEvents {
  readonly observer: BuildObserver;
  readonly steps: RecordedStep[];
  /** About the build. */
  readonly notes: string[];
  /** Both outputs of the step whose text begins so. */
  output(text: string): string;
  /** How the step whose text begins so got its files: `hit`, `miss: …`, `shared`, `none`. */
  use(text: string): string | undefined;
  find(text: string): RecordedStep;
  /** Resolves when the output of any step has the text. */
  said(text: string): Promise<void>;
}

export interface RecordedStep extends StepDescription {
  state: 'planned' | 'started' | 'finished' | 'failed';
  use: CacheUse | undefined;
  output: string;
  notes: string[];
  bytes: number | undefined;
  exitCode: number | undefined;
}

export function recordEvents(): BuildEvents {
  const steps: RecordedStep[] = [];
  const notes: string[] = [];
  const waiting: { text: string; resolve: () => void }[] = [];
  const at = (number: number): RecordedStep => {
    const step = steps.find((each) => each.number === number);
    if (step === undefined) throw new Error(`step ${number} was not planned`);
    return step;
  };
  const find = (text: string): RecordedStep => {
    const step = steps.find((each) => each.text.startsWith(text));
    if (step === undefined) throw new Error(`no step begins with ${text}`);
    return step;
  };
  const observer: BuildObserver = {
    planned(descriptions) {
      const fresh = { state: 'planned', use: undefined, output: '', bytes: undefined, exitCode: undefined } as const;
      steps.push(...descriptions.map((step): RecordedStep => ({ ...step, ...fresh, notes: [] })));
    },
    started(step) {
      at(step).state = 'started';
    },
    cache(step, use) {
      at(step).use = use;
    },
    output(step, _stream, bytes) {
      at(step).output += Buffer.from(bytes).toString();
      for (const { text, resolve } of waiting) if (steps.some(({ output }) => output.includes(text))) resolve();
    },
    note: (step, text) => void (step === undefined ? notes : at(step).notes).push(text),
    finished(step, { bytes }) {
      at(step).state = 'finished';
      at(step).bytes = bytes;
    },
    failed(step, exitCode) {
      at(step).state = 'failed';
      at(step).exitCode = exitCode;
    },
  };
  return {
    observer,
    steps,
    notes,
    find,
    output: (text) => find(text).output,
    use(text) {
      const { use } = find(text);
      return use?.kind === 'miss' ? `miss: ${use.why}` : use?.kind;
    },
    said: (text) => new Promise((resolve) => waiting.push({ text, resolve })),
  };
}
