import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { LogLine } from './build-log.ts';
import { createLogObserver, type StepObserver } from './log-observer.ts';
import { createLogText } from './log-text.ts';
import { createRedactor } from './redactor.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const SECRET = 'canary-7711';

function lab(options: { maxLines?: number; steps?: StepObserver; onFull?: () => void } = {}) {
  const { maxLines = Number.POSITIVE_INFINITY, ...rest } = options;
  const lines: LogLine[] = [];
  const writer = {
    get isFull() {
      return lines.length >= maxLines;
    },
    write: (line: Pick<LogLine, 'step' | 'stream' | 'text'>) =>
      void lines.push({ index: lines.length, at: 0, ...line }),
  };
  const observer = createLogObserver({ writer, redactor: createRedactor([SECRET]), now: () => Date.now(), ...rest });
  return {
    observer,
    lines,
    text: () => lines.map(createLogText()).join(''),
    write: (step: number, text: string) => observer.output(step, 'stdout', Buffer.from(text)),
  };
}

const step = (number: number, text: string, stage = '0') => ({ number, stage, line: number, text });

describe('the log of a build', () => {
  test('reads like this', () => {
    const { observer, text, write } = lab();
    observer.planned([
      step(1, 'FROM debian:12'),
      step(2, 'RUN apt-get update && \\\n    apt-get install -y curl'),
      step(3, 'ENV A=1'),
      step(4, 'RUN curl nowhere'),
    ]);
    observer.started(1);
    observer.note(1, 'debian:12 is docker.io/library/debian@sha256:1234');
    observer.cache(1, { kind: 'hit' });
    observer.finished(1, { bytes: 0 });
    observer.started(2);
    observer.cache(2, { kind: 'miss', why: 'the command changed' });
    write(2, 'Reading package lists... 0%\rReading package lists... Done\nSetting up curl\n');
    vi.advanceTimersByTime(1_234);
    observer.finished(2, { bytes: 34_567_890 });
    observer.started(3);
    observer.cache(3, { kind: 'none' });
    observer.finished(3, { bytes: 0 });
    observer.started(4);
    observer.cache(4, { kind: 'miss', why: 'first time' });
    write(4, 'curl: (6) Could not resolve host: nowhere');
    vi.advanceTimersByTime(75_000);
    observer.failed(4, 6);
    expect(text()).toBe(
      [
        '#1 [1/4] FROM debian:12',
        '#1 debian:12 is docker.io/library/debian@sha256:1234',
        '#1 CACHED',
        '#2 [2/4] RUN apt-get update && apt-get install -y curl',
        '#2 not from the cache: the command changed',
        'Reading package lists... Done',
        'Setting up curl',
        '#2 DONE 1.2s, 34.6 MB',
        '#3 [3/4] ENV A=1',
        '#4 [4/4] RUN curl nowhere',
        'curl: (6) Could not resolve host: nowhere',
        '#4 ERROR exit code 6 after 1m 15s',
        '',
      ].join('\n'),
    );
  });

  test('says whose output it is where stages run beside each other', () => {
    const { observer, text, write } = lab();
    observer.planned([
      step(1, 'FROM a AS one', 'one'),
      step(2, 'RUN x', 'one'),
      step(3, 'FROM b', '1'),
      step(4, 'RUN y', '1'),
    ]);
    observer.started(2);
    observer.started(4);
    write(2, 'x 1\nx 2\n');
    write(4, 'y 1\n');
    write(2, 'x 3\n');
    expect(text()).toBe('#2 [one 2/4] RUN x\n#4 [stage-1 4/4] RUN y\n#2 …\nx 1\nx 2\n#4 …\ny 1\n#2 …\nx 3\n');
  });

  test('shows a question while the step waits', () => {
    const { observer, lines, write } = lab();
    observer.started(1);
    write(1, 'Continue? ');
    expect(lines).toEqual([]);
    vi.advanceTimersByTime(1_000);
    expect(lines).toMatchObject([{ text: 'Continue? ', stream: 'stdout' }]);
    observer.end();
  });

  test('has no secret, not even one that is cut, coloured, or in an instruction or a note', () => {
    const { observer, lines, text, write } = lab();
    observer.planned([step(1, `RUN echo ${SECRET}`)]);
    observer.started(1);
    write(1, `a ${SECRET.slice(0, 4)}`);
    write(1, `${SECRET.slice(4)} b\ncan\x1b[31mary-77\x1b[0m11\n${SECRET.slice(0, 6)}`);
    observer.note(undefined, `a note of\n${SECRET}`);
    observer.note(1, `${SECRET.slice(0, 3)}\0${SECRET.slice(3)}`);
    observer.failed(1, 1);
    expect(text()).not.toContain(SECRET);
    expect(lines.map((line) => line.text)).toEqual([
      '[1/1] RUN echo ***',
      'a *** b',
      '***',
      'a note of',
      '***',
      '***',
      'canary',
      'ERROR exit code 1 after 0.0s',
    ]);
  });

  test('keeps what a step left unfinished when the build was ended', () => {
    const { observer, lines, write } = lab();
    observer.started(1);
    write(1, 'half a li');
    observer.end();
    expect(lines).toMatchObject([{ text: 'half a li' }]);
  });

  test('tells once that it is full, and takes no more output', () => {
    const onFull = vi.fn();
    const { observer, lines, write } = lab({ maxLines: 3, onFull });
    observer.started(1);
    for (let turn = 0; turn < 10; turn += 1) write(1, 'x\n');
    expect(onFull).toHaveBeenCalledOnce();
    expect(lines).toHaveLength(3);
  });

  test('passes on how steps go', () => {
    const calls: unknown[][] = [];
    const spy =
      (name: string) =>
      (...values: unknown[]) =>
        void calls.push([name, ...values]);
    const { observer } = lab({
      steps: {
        planned: spy('planned'),
        started: spy('started'),
        cache: spy('cache'),
        finished: spy('finished'),
        failed: spy('failed'),
      },
    });
    observer.planned([]);
    observer.started(1);
    observer.cache(1, { kind: 'shared' });
    observer.finished(1, { bytes: 5 });
    observer.failed(2, undefined);
    expect(calls).toEqual([
      ['planned', []],
      ['started', 1],
      ['cache', 1, { kind: 'shared' }],
      ['finished', 1, { bytes: 5 }],
      ['failed', 2, undefined],
    ]);
  });

  test('shows long instructions in short', () => {
    const { observer, lines } = lab();
    observer.planned([step(1, 'RUN <<EOF\necho a\nEOF'), step(2, `RUN ${'x'.repeat(1_000)}`)]);
    observer.started(1);
    observer.started(2);
    expect(lines[0]?.text).toBe('[1/2] RUN <<EOF … (2 more lines)');
    expect(lines[1]?.text.length).toBeLessThan(220);
  });
});
