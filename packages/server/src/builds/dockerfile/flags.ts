import type { EscapeChar } from './directives.ts';
import { syntaxError } from './syntax-error.ts';

/** The `--name=value` words in front of an instruction's arguments; `true` for one without a value. */
export interface Flag {
  name: string;
  value: string | true;
}

export interface Flagged {
  flags: Flag[];
  rest: string;
}

/** Takes the flags off the front. A value may be quoted in part or in whole; `--` alone ends them. */
export function splitFlags(text: string, escapeChar: EscapeChar): Flagged {
  const flags: Flag[] = [];
  let at = 0;
  for (;;) {
    while (/\s/.test(text[at] ?? '')) at += 1;
    if (!text.startsWith('--', at)) return { flags, rest: text.slice(at) };
    const { word, next } = readWord(text, at, escapeChar);
    at = next;
    if (word === '--') return { flags, rest: text.slice(at).trimStart() };
    const equals = word.indexOf('=');
    flags.push(
      equals === -1
        ? { name: word.slice(2), value: true }
        : { name: word.slice(2, equals), value: word.slice(equals + 1) },
    );
  }
}

function readWord(text: string, from: number, escapeChar: string): { word: string; next: number } {
  let word = '';
  let quote = '';
  let at = from;
  for (; at < text.length; at++) {
    const char = text[at] ?? '';
    if (char === escapeChar && at + 1 < text.length && quote !== "'") {
      at += 1;
      word += text[at];
    } else if (quote !== '') {
      if (char === quote) quote = '';
      else word += char;
    } else if (char === '"' || char === "'") quote = char;
    else if (/\s/.test(char)) break;
    else word += char;
  }
  return { word, next: at };
}

/** The flags of one instruction, each looked for by its name; what nobody asked for is refused by `finish`. */
export class FlagReader {
  readonly #line: number;
  readonly #keyword: string;
  #left: readonly Flag[];
  readonly #known: string[] = [];

  constructor(line: number, keyword: string, flags: readonly Flag[]) {
    this.#line = line;
    this.#keyword = keyword;
    this.#left = flags;
  }

  text(name: string): string | undefined {
    const [value, ...more] = this.texts(name);
    if (more.length > 0) throw syntaxError(this.#line, `the flag --${name} stands there twice`);
    return value;
  }

  texts(name: string): string[] {
    return this.#take(name).map((value) => {
      if (value !== true) return value;
      throw syntaxError(this.#line, `the flag --${name} needs a value: --${name}=…`);
    });
  }

  bool(name: string): boolean {
    const [value, ...more] = this.#take(name);
    if (more.length > 0) throw syntaxError(this.#line, `the flag --${name} stands there twice`);
    if (value === undefined || value === 'false') return false;
    if (value === true || value === 'true') return true;
    throw syntaxError(this.#line, `the flag --${name} is true or false, not ${value}`);
  }

  finish(): void {
    const [unknown] = this.#left;
    if (unknown === undefined) return;
    const known =
      this.#known.length === 0
        ? 'It has no flags.'
        : `Its flags are ${this.#known.map((name) => `--${name}`).join(', ')}.`;
    throw syntaxError(this.#line, `${this.#keyword.toUpperCase()} has no flag --${unknown.name}`, known);
  }

  #take(name: string): (string | true)[] {
    this.#known.push(name);
    const taken = this.#left.filter((flag) => flag.name === name);
    this.#left = this.#left.filter((flag) => flag.name !== name);
    return taken.map((flag) => flag.value);
  }
}
