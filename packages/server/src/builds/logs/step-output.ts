import { createLineSplitter } from './line-splitter.ts';
import type { Redactor } from './redactor.ts';

type Stream = 'stdout' | 'stderr';

export interface StepOutput {
  push(stream: Stream, bytes: Uint8Array): void;
  /** When `showUnfinished` is due. */
  readonly dueAt: number | undefined;
  showUnfinished(now: number): void;
  end(): void;
}

/** The output of one step on its way to lines. */
export function createStepOutput(options: {
  redactor: Redactor;
  now: () => number;
  emit: (stream: Stream, text: string) => void;
}): StepOutput {
  const { redactor, now, emit } = options;
  const streams = new Map<Stream, ReturnType<typeof open>>();

  const open = (stream: Stream) => ({
    redacted: redactor.stream(),
    // Again by the line: what was taken out of it may have stood in the middle of a secret.
    lines: createLineSplitter({ emit: (text) => emit(stream, redactor.text(text)), now }),
  });

  return {
    push(stream, bytes) {
      const { redacted, lines } = streams.get(stream) ?? open(stream);
      if (!streams.has(stream)) streams.set(stream, { redacted, lines });
      lines.push(redacted.push(bytes));
    },
    get dueAt() {
      const times = [...streams.values()].flatMap(({ lines }) => lines.dueAt ?? []);
      return times.length === 0 ? undefined : Math.min(...times);
    },
    showUnfinished(time) {
      for (const { lines } of streams.values()) {
        if (lines.dueAt !== undefined && lines.dueAt <= time) lines.showUnfinished();
      }
    },
    end() {
      for (const { redacted, lines } of streams.values()) {
        lines.push(redacted.end());
        lines.end();
      }
      streams.clear();
    },
  };
}
