import type { LogLine } from './build-log.ts';

/**
 * A log as plain text, line by line: what steps write is shown as it is, and what is said about a step begins with its number, `#3 DONE 1.2s`.
 * Where steps run beside each other, or the text does not begin at the first line, the number also stands before output of another step
 * than the one before. One such function for each reader; every text ends with a line feed.
 */
export function createLogText(): (line: LogLine) => string {
  let current: number | undefined;
  return ({ step, stream, text }) => {
    const before = current;
    current = step;
    if (step === undefined) return `${text}\n`;
    if (stream === 'note') return `#${step} ${text}\n`;
    return step === before ? `${text}\n` : `#${step} …\n${text}\n`;
  };
}
