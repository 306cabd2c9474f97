import type { LogLine } from './build-log.ts';

const MAX_LINES = 100;
const MAX_CHARACTERS = 64 * 1024;
/** More do not run at a time; of others the tails were asked for already. */
const MAX_STEPS = 64;

/** The last lines of what each step wrote, for the record of its failure. Bounded, whatever is written. */
export function createStepTails() {
  const tails = new Map<number, { lines: LogLine[]; characters: number }>();
  return {
    add(line: LogLine): void {
      if (line.step === undefined || line.stream === 'note') return;
      const tail = tails.get(line.step) ?? { lines: [], characters: 0 };
      tails.delete(line.step);
      tails.set(line.step, tail);
      tail.lines.push(line);
      tail.characters += line.text.length;
      while (tail.lines.length > MAX_LINES || (tail.characters > MAX_CHARACTERS && tail.lines.length > 1)) {
        tail.characters -= tail.lines.shift()?.text.length ?? 0;
      }
      const [oldest] = tails.keys();
      if (tails.size > MAX_STEPS && oldest !== undefined) tails.delete(oldest);
    },
    last(step: number, count: number): LogLine[] {
      return count <= 0 ? [] : (tails.get(step)?.lines.slice(-count) ?? []);
    },
  };
}
