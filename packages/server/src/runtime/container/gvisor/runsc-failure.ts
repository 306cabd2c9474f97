import { z } from 'zod';
import { conflict, DarkroomError } from '../../../platform/errors.ts';

const lineSchema = z.object({ msg: z.string(), level: z.string() });
const MAX_WORDS = 2000;

/** The errors in a log of runsc: JSON objects, one behind the other. */
export function wordsOf(log: string): string {
  return log
    .split(/(?<=\})\s*(?=\{"msg")|\n/)
    .flatMap((line) => {
      try {
        const entry = lineSchema.parse(JSON.parse(line));
        return entry.level === 'error' || entry.level === 'fatal' ? [entry.msg] : [];
      } catch {
        return [];
      }
    })
    .join('\n')
    .slice(-MAX_WORDS);
}

export function runscFailure(command: string, words: string): DarkroomError {
  const cause = new Error(`runsc ${command}: ${words.trim() || 'failed without a word'}`);
  if (/file does not exist|not started|is not running|container .* stopped|connection refused/i.test(words)) {
    return conflict(`the sandbox is not running (${words.trim()})`, { cause });
  }
  return new DarkroomError('internal', cause.message, { cause, hint: 'Run `darkroom doctor`; it tries gVisor.' });
}
