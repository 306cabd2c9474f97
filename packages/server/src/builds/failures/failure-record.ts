import type { ErrorCode } from '@darkroom/contract/error-codes';
import { BuildFailure, type FailedStep, type FailureClass } from '../failure.ts';
import type { LogLine } from '../logs/build-log.ts';
import type { Redactor } from '../logs/redactor.ts';
import { onOneLine } from '../logs/step-texts.ts';
import { explain } from './explain.ts';
import { shortened, tellingLines } from './telling-lines.ts';

/** Why a build failed, as it is kept and shown. */
export interface FailureRecord {
  class: FailureClass;
  code: ErrorCode;
  /** One sentence. */
  message: string;
  hint?: string | undefined;
  /** Whether the same build may succeed later without a change. */
  retryable: boolean;
  step?: FailedStep | undefined;
  /** The last lines that the step wrote, oldest first. */
  output: string[];
}

export interface RecordOptions {
  dockerfile?: string;
  /** Over every text of the record; lines of the log have been through one. */
  redactor?: Redactor;
}

const KEPT_LINES = 50;
const MAX_LINE = 2_000;
const MAX_TEXT = 4_000;
const MAX_REASON = 2_000;

/** `tail` gives the last lines of a step. */
export function failureRecord(
  raised: unknown,
  tail: (step: number, count: number) => readonly Pick<LogLine, 'text'>[],
  { dockerfile, redactor }: RecordOptions = {},
): FailureRecord {
  const clean = (text: string) => storable(shortened(redactor?.text(text) ?? text, MAX_TEXT));
  const step = raised instanceof BuildFailure ? raised.step : undefined;
  const lines = step === undefined ? [] : tail(step.number, KEPT_LINES);
  const failure = explain(raised, { tail: lines, dockerfile });
  return {
    class: failure.class,
    code: failure.code,
    message: clean(failure.message),
    hint: failure.hint === undefined ? undefined : clean(failure.hint),
    retryable: failure.retryable,
    step: failure.step && {
      ...failure.step,
      text: clean(failure.step.text),
      command: failure.step.command === undefined ? undefined : clean(failure.step.command),
    },
    output: lines.map(({ text }) => storable(shortened(text, MAX_LINE))),
  };
}

/** The record as one paragraph of at most 2,000 characters: where, what happened, the words of the command, what to do, and whether to try again. */
export function reasonOf({ message, hint, retryable, step, output }: FailureRecord): string {
  const where = step === undefined ? '' : `Step ${step.number} (line ${step.line}, ${onOneLine(step.text)}) failed: `;
  const what = shortened(step === undefined ? message : withoutCommand(message, step), 400);
  const telling = step?.exitCode === undefined ? [] : tellingLines(output);
  const said = telling.length === 0 ? '' : `It wrote: ${telling.join(' ⏎ ')}`;
  const verdict = retryable ? 'Building again may help.' : 'Building again without a change will not help.';
  const parts = [`${where}${what}`, said, shortened(hint ?? '', 500), verdict];
  const reason = parts
    .filter((part) => part !== '')
    .map(asSentence)
    .join(' ');
  return storable(shortened(reason, MAX_REASON));
}

/** Commands may have anything in them, and PostgreSQL takes no NUL and no half of a surrogate pair: a failure that cannot be written would never end. */
function storable(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\ufffd');
}

/** The instruction stands before it already. */
function withoutCommand(message: string, { command, text }: FailedStep): string {
  return command !== undefined && /^RUN\s/i.test(text)
    ? message.replace(/^the command "(?:[^"\\]|\\.)*" /, 'the command ')
    : message;
}

function asSentence(text: string): string {
  return /[.!?…:]$/.test(text) ? text : `${text}.`;
}
