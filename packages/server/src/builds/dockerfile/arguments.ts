import type { EscapeChar } from './directives.ts';
import type { Command, Pair } from './instructions.ts';
import { syntaxError } from './syntax-error.ts';

/** The JSON form `["a", "b"]`; undefined when it is anything else, which then is the shell form. */
export function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) return undefined;
  // As Docker reads halves of surrogate pairs: no file and no process can have them.
  return value.map((item) => item.toWellFormed());
}

/** Written as an escape, where it is not seen in the text. Nothing can be started with one, or kept. */
export function refuseNul(line: number, list: readonly string[] | undefined): void {
  if (list?.some((item) => item.includes('\0')) === true) throw syntaxError(line, 'there is a NUL character in it');
}

export function command(text: string): Command {
  const argv = jsonList(text);
  return argv === undefined ? { form: 'shell', script: text } : { form: 'exec', argv };
}

/** Split at blanks; quotes mean nothing here. */
export function blankSeparated(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** Words with their quotes and escapes still in them. */
export function quotedWords(text: string, escapeChar: EscapeChar): string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? '';
    if (char === escapeChar && quote !== "'" && at + 1 < text.length) {
      at += 1;
      word += char + (text[at] ?? '');
      continue;
    }
    if (quote === '' && /\s/.test(char)) {
      if (word !== '') words.push(word);
      word = '';
      continue;
    }
    if (quote === '' && (char === '"' || char === "'")) quote = char;
    else if (char === quote) quote = '';
    word += char;
  }
  if (word !== '') words.push(word);
  return words;
}

/** `a=1 b="2 3"`, or the old form `name all the rest`. */
export function pairs(line: number, keyword: string, text: string, escapeChar: EscapeChar): Pair[] {
  const words = quotedWords(text, escapeChar);
  const [first] = words;
  if (first === undefined) throw syntaxError(line, `${keyword} needs at least one name and value`);
  if (!first.includes('=')) {
    const [, name, value] = /^(\S+)\s+([\s\S]+)$/.exec(text) ?? [];
    if (name === undefined || value === undefined)
      throw syntaxError(line, `${keyword} must have two arguments, or name=value`);
    return [{ name, value }];
  }
  return words.map((word) => {
    const equals = word.indexOf('=');
    if (equals === -1)
      throw syntaxError(
        line,
        `can't find = in "${word}": ${keyword} takes name=value`,
        `Quote values with blanks: name="a b".`,
      );
    if (equals === 0) throw syntaxError(line, `${keyword} has a value without a name: "${word}"`);
    return { name: word.slice(0, equals), value: word.slice(equals + 1) };
  });
}

const UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** A duration such as `1m30s`, in nanoseconds; undefined when it is none. */
export function nanoseconds(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(amount) * (UNITS[unit ?? ''] ?? 0);
  }
  // The longest that the image's config can hold.
  return total < 2 ** 63 ? Math.round(total) : undefined;
}
