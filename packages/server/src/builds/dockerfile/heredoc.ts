import type { EscapeChar } from './directives.ts';
import { expandWords, WordError } from './words.ts';

/** `<<NAME` of a line, before its content has been read. */
export interface HeredocMark {
  name: string;
  /** Written without quotes: variables in the content are replaced. */
  expand: boolean;
  /** `<<-`: tabs at the beginning of lines do not count. */
  chomp: boolean;
  /** What stood before `<<`; a shell reads it as a file descriptor. */
  descriptor: number | undefined;
}

export interface Heredoc extends HeredocMark {
  /** With the newline of its last line. */
  content: string;
}

const MARK = /^(\d{0,9})<<(-?)([^<]*)$/;
const MARK_ALONE = /^\d*<<-?$/;

/** The heredoc that a word opens, if it opens one. */
export function heredocMark(word: string, escapeChar: EscapeChar): HeredocMark | undefined {
  const [, descriptor, dash, written] = MARK.exec(word) ?? [];
  const rest = written?.trimStart();
  if (rest === undefined || rest === '') return undefined;
  const words = namesIn(rest, escapeChar);
  const [name] = words;
  if (name === undefined || words.length !== 1) return undefined;
  return {
    name,
    expand: name === rest,
    chomp: dash === '-',
    descriptor: descriptor === '' ? undefined : Number(descriptor),
  };
}

/** All that a line opens, in the order in which their contents follow. */
export function heredocMarks(line: string, escapeChar: EscapeChar): HeredocMark[] {
  if (!line.includes('<<')) return [];
  try {
    const words = expandWords(line, {
      escapeChar,
      lookup: () => undefined,
      rawQuotes: true,
      rawEscapes: true,
      keepUnset: true,
    });
    return joinHeredocWords(words).flatMap((word) => heredocMark(word, escapeChar) ?? []);
  } catch (error) {
    // A line of a shell that is no line of ours, with a single quote say: it opens nothing.
    if (error instanceof WordError) return [];
    throw error;
  }
}

/** As in a shell, blanks may stand between `<<` and the name. */
export function joinHeredocWords(words: readonly string[]): string[] {
  const joined: string[] = [];
  for (const word of words) {
    const last = joined.at(-1);
    if (last !== undefined && MARK_ALONE.test(last)) joined[joined.length - 1] = last + word;
    else joined.push(word);
  }
  return joined;
}

export function withoutLeadingTabs(text: string): string {
  return text.replace(/^\t+/gm, '');
}

function namesIn(rest: string, escapeChar: EscapeChar): string[] {
  try {
    return expandWords(rest, { escapeChar, lookup: () => undefined, keepUnset: true });
  } catch (error) {
    if (error instanceof WordError) return [];
    throw error;
  }
}
