import type { CacheUse, StepDescription } from '../types.ts';

const MAX_INSTRUCTION = 200;

/** `[builder 3/7] RUN make`; the stage only where there are several. */
export function headingOf(
  { number, stage, text }: StepDescription,
  { total, stages }: { total: number; stages: number },
) {
  const name = /^\d+$/.test(stage) ? `stage-${stage}` : stage;
  return `[${stages > 1 ? `${name} ` : ''}${number}/${total}] ${onOneLine(text)}`;
}

/** An instruction as one line: continued lines are joined without their indentation, and of a here-document only the beginning is shown. */
export function onOneLine(instruction: string): string {
  const [begin = '', ...more] = instruction
    .replace(/[\\`][ \t]*\r?\n\s*/g, '')
    .trim()
    .split('\n');
  const first = begin.replace(/[ \t]{2,}/g, ' ');
  const shown = first.length > MAX_INSTRUCTION ? `${first.slice(0, MAX_INSTRUCTION).toWellFormed()}…` : first;
  return more.length > 0 ? `${shown} … (${more.length} more ${more.length === 1 ? 'line' : 'lines'})` : shown;
}

/** What is worth a line; that a step was never run before is not. */
export function cacheText(use: CacheUse): string | undefined {
  switch (use.kind) {
    case 'hit':
      return 'CACHED';
    case 'shared':
      return 'another build runs the same step; this one waits for it';
    case 'miss':
      return use.why === 'first time' ? undefined : `not from the cache: ${use.why}`;
    case 'none':
      return undefined;
  }
}

export function doneText(milliseconds: number, bytes: number): string {
  return `DONE ${seconds(milliseconds)}${bytes > 0 ? `, ${size(bytes)}` : ''}`;
}

export function errorText(milliseconds: number, exitCode: number | undefined): string {
  return `ERROR ${exitCode === undefined ? '' : `exit code ${exitCode} `}after ${seconds(milliseconds)}`;
}

function seconds(milliseconds: number): string {
  const whole = Math.floor(milliseconds / 1000);
  if (whole < 60) return `${(milliseconds / 1000).toFixed(1)}s`;
  return whole < 3600
    ? `${Math.floor(whole / 60)}m ${whole % 60}s`
    : `${Math.floor(whole / 3600)}h ${Math.floor((whole % 3600) / 60)}m`;
}

function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let amount = bytes / 1000;
  while (amount >= 999.95 && units.length > 1) {
    amount /= 1000;
    units.shift();
  }
  return `${amount.toFixed(1)} ${units[0]}`;
}
