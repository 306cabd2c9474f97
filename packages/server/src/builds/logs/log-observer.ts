import type { BuildObserver, CacheUse, StepDescription } from '../types.ts';
import type { BuildLogWriter } from './build-log.ts';
import { createLineSplitter } from './line-splitter.ts';
import type { Redactor } from './redactor.ts';
import { createStepOutput, type StepOutput } from './step-output.ts';
import { cacheText, doneText, errorText, headingOf } from './step-texts.ts';

/** Who else is told how steps go; `note` and `output` are for the log alone. */
export type StepObserver = Pick<BuildObserver, 'planned' | 'started' | 'cache' | 'finished' | 'failed'>;

export interface LogObserver extends BuildObserver {
  /** Writes what steps that were cut off have left unfinished. Call when the build has ended, before the writer is closed. */
  end(): void;
}

export interface LogObserverOptions {
  writer: Pick<BuildLogWriter, 'write' | 'isFull'>;
  redactor: Redactor;
  steps?: StepObserver;
  /** Once: the log has reached its limit with the output of this step, and the build must be ended. */
  onFull?: (step: number) => void;
  /** Milliseconds; by default the clock of the machine. */
  now?: () => number;
}

interface Step {
  startedAt: number;
  use: CacheUse['kind'] | undefined;
  output: StepOutput;
}

/** Writes the log of a build: a heading for each step, what it writes, and how it ended. */
export function createLogObserver(options: LogObserverOptions): LogObserver {
  const { writer, redactor, steps: others, onFull, now = () => performance.now() } = options;
  const running = new Map<number, Step>();
  let plan: readonly StepDescription[] = [];
  let stages = 0;
  let timer: NodeJS.Timeout | undefined;
  let wasFull = false;

  function note(step: number | undefined, text: string): void {
    const lines = createLineSplitter({
      emit: (line) => writer.write({ step, stream: 'note', text: redactor.text(line) }),
      now,
    });
    lines.push(Buffer.from(redactor.text(text)));
    lines.end();
  }

  function stepOf(number: number): Step {
    const step = running.get(number) ?? {
      startedAt: now(),
      use: undefined,
      output: createStepOutput({
        redactor,
        now,
        emit: (stream, text) => writer.write({ step: number, stream, text }),
      }),
    };
    running.set(number, step);
    return step;
  }

  /** Answers how long it took. */
  function endStep(number: number): { milliseconds: number; use: Step['use'] } {
    const step = stepOf(number);
    step.output.end();
    running.delete(number);
    return { milliseconds: now() - step.startedAt, use: step.use };
  }

  function watch(): void {
    if (timer !== undefined) return;
    const times = [...running.values()].flatMap(({ output }) => output.dueAt ?? []);
    if (times.length === 0) return;
    timer = setTimeout(
      () => {
        timer = undefined;
        for (const { output } of running.values()) output.showUnfinished(now());
        watch();
      },
      Math.max(20, Math.min(...times) - now()),
    );
    timer.unref();
  }

  return {
    planned(all) {
      plan = all;
      stages = new Set(all.map(({ stage }) => stage)).size;
      others?.planned(all);
    },
    started(number) {
      stepOf(number);
      const description = plan.find((step) => step.number === number);
      if (description !== undefined) note(number, headingOf(description, { total: plan.length, stages }));
      others?.started(number);
    },
    cache(number, use) {
      stepOf(number).use = use.kind;
      const text = cacheText(use);
      if (text !== undefined) note(number, text);
      others?.cache(number, use);
    },
    output(number, stream, bytes) {
      if (!writer.isFull) stepOf(number).output.push(stream, bytes);
      if (writer.isFull && !wasFull) {
        wasFull = true;
        onFull?.(number);
      }
      watch();
    },
    note,
    finished(number, result) {
      const { milliseconds, use } = endStep(number);
      if (use !== 'hit' && use !== 'none') note(number, doneText(milliseconds, result.bytes));
      others?.finished(number, result);
    },
    failed(number, exitCode) {
      const { milliseconds } = endStep(number);
      note(number, errorText(milliseconds, exitCode));
      others?.failed(number, exitCode);
    },
    end() {
      clearTimeout(timer);
      for (const number of [...running.keys()]) endStep(number);
    },
  };
}
