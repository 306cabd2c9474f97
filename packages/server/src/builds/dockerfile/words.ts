import type { EscapeChar } from './directives.ts';
import { type ExpansionBudget, expansionBudget, type SharedWork } from './expansion-budget.ts';
import { expandVariable, type Lookup } from './variables.ts';

export type { Lookup } from './variables.ts';

export interface WordOptions {
  escapeChar: EscapeChar;
  /** The value of a variable, or undefined when it is not set. */
  lookup: Lookup;
  /** Keeps quotes as they are written. */
  rawQuotes?: boolean;
  /** Quotes are characters like others, as in the content of a heredoc. */
  ignoreQuotes?: boolean;
  /** Keeps escape characters as they are written. */
  rawEscapes?: boolean;
  /** Leaves `$x` as it is when x is not set. */
  keepUnset?: boolean;
  /** Taken from by all words that have it. */
  work?: SharedWork | undefined;
}

/** One word: quotes and escapes are taken away, variables replaced; blanks stay what they are. */
export function expandWord(text: string, options: WordOptions): string {
  return new Scanner(text, options, budgetFor(text, options)).scan().join('');
}

/** Like `expandWord`, then split at blanks that were not quoted, also those that came out of a variable. */
export function expandWords(text: string, options: WordOptions): string[] {
  const scanner = new Scanner(text, options, budgetFor(text, options), { split: true });
  scanner.scan();
  return scanner.words();
}

const budgetFor = (text: string, { work }: WordOptions) =>
  expansionBudget(text, work, (message) => new WordError(message));

export class WordError extends Error {
  override readonly name = 'WordError';
}

/** Reads characters (code points) one by one, as the shell words of Docker are defined. */
class Scanner {
  readonly #chars: string[];
  readonly #options: WordOptions;
  readonly #budget: ExpansionBudget;
  readonly #split: boolean;
  #at = 0;
  readonly #pieces: string[] = [];
  readonly #words: string[] = [];
  #word = '';
  #inWord = false;

  constructor(text: string, options: WordOptions, budget: ExpansionBudget, { split = false } = {}) {
    this.#chars = [...text];
    this.#options = options;
    this.#budget = budget;
    this.#split = split;
  }

  scan(): string[] {
    while (this.#at < this.#chars.length) this.#step();
    return this.#pieces;
  }

  words(): string[] {
    this.#endWord();
    return this.#words;
  }

  #step(): void {
    const char = this.#peek();
    const { ignoreQuotes } = this.#options;
    if (char === "'" && !ignoreQuotes) this.#quoted(this.#single());
    else if (char === '"' && !ignoreQuotes) this.#quoted(this.#double());
    else if (char === '$') this.#expanded(this.#dollar());
    else {
      this.#at += 1;
      if (char === this.#options.escapeChar) this.#escaped();
      else this.#expanded(char);
    }
  }

  #escaped(): void {
    const { escapeChar, rawEscapes } = this.#options;
    const next = this.#peek();
    // At the end there is nothing to quote, and it stands for itself no more.
    if (next === '') {
      if (rawEscapes) this.#quoted(escapeChar);
      return;
    }
    this.#at += 1;
    this.#quoted(rawEscapes ? escapeChar + next : next);
  }

  #single(): string {
    const { rawQuotes } = this.#options;
    const from = this.#at;
    const end = this.#chars.indexOf("'", from + 1);
    if (end === -1) throw new WordError("unexpected end of statement while looking for matching single-quote (')");
    this.#at = end + 1;
    return this.#chars.slice(rawQuotes ? from : from + 1, rawQuotes ? end + 1 : end).join('');
  }

  #double(): string {
    const { escapeChar, rawQuotes, rawEscapes } = this.#options;
    let result = rawQuotes ? '"' : '';
    this.#at += 1;
    for (;;) {
      const char = this.#peek();
      if (char === '') {
        throw new WordError('unexpected end of statement while looking for matching double-quote (")');
      }
      if (char === '$') {
        result += this.#dollar();
        continue;
      }
      this.#at += 1;
      if (char === '"') return result + (rawQuotes ? '"' : '');
      if (char === escapeChar) {
        const next = this.#peek();
        if (next === '') {
          throw new WordError('unexpected end of statement while looking for matching double-quote (")');
        }
        this.#at += 1;
        // Between double quotes it quotes these alone; before others it is a character.
        const quotes = next === '"' || next === '$' || next === escapeChar;
        result += rawEscapes || !quotes ? escapeChar + next : next;
        continue;
      }
      result += char;
    }
  }

  /** At a `$`; gives what stands for it. */
  #dollar(): string {
    const inside = (text: string, options: WordOptions) =>
      this.#budget.deeper(() => new Scanner(text, options, this.#budget).scan().join(''));
    const expanded = expandVariable(this.#chars, this.#at, {
      ...this.#options,
      word: (text) => inside(text, this.#options),
      pattern: (text) => inside(text, { ...this.#options, rawEscapes: true }),
      fail: (message) => new WordError(message),
      spend: this.#budget.spend,
    });
    this.#at = expanded.next;
    this.#budget.produce(expanded.text.length);
    return expanded.text;
  }

  /** Part of the word, blanks and all; quotes make a word even when nothing is between them. */
  #quoted(text: string): void {
    this.#pieces.push(text);
    this.#append(text);
  }

  #expanded(text: string): void {
    this.#pieces.push(text);
    if (!this.#split) return;
    for (const char of text) {
      if (isBlank(char)) this.#endWord();
      else this.#append(char);
    }
  }

  #append(text: string): void {
    if (!this.#split) return;
    this.#word += text;
    this.#inWord = true;
  }

  #endWord(): void {
    if (this.#inWord) this.#words.push(this.#word);
    this.#word = '';
    this.#inWord = false;
  }

  #peek(): string {
    return this.#chars[this.#at] ?? '';
  }
}

function isBlank(char: string): boolean {
  return /^\s$/u.test(char);
}
