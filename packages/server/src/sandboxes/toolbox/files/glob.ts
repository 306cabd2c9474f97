import { invalidRequest } from '../../../platform/errors.ts';

type Token =
  | { kind: 'letter'; letter: string }
  | { kind: 'any' }
  | { kind: 'set'; negated: boolean; ranges: readonly (readonly [string, string])[] }
  /** Any number of letters; `deep` ones take slashes too. */
  | { kind: 'star'; deep: boolean }
  /** Any number of directories: between two directories, where it may end, and in the name of one. They always come as a pair. */
  | { kind: 'boundary' }
  | { kind: 'inside' };

export type Glob = (text: string) => boolean;

/**
 * `*`, `?`, `[a-z]`, `[^a-z]`, `\` before a letter that is meant as it is, and `**` for any number of directories. All possible
 * readings are followed at once, so that no pattern takes longer than its length times the text's.
 */
export function parseGlob(pattern: string): Glob {
  const tokens = [...tokensOf([...pattern])];
  return (text) => {
    let states = reach(tokens, [0]);
    for (const letter of text) {
      states = reach(tokens, step(tokens, states, letter));
      if (states.length === 0) return false;
    }
    return states.includes(tokens.length);
  };
}

function* tokensOf(letters: readonly string[]): Generator<Token> {
  for (let at = 0; at < letters.length; at += 1) {
    const letter = letters[at] ?? '';
    if (letter === '*') {
      const deep = letters[at + 1] === '*';
      if (deep) at += 1;
      if (deep && letters[at + 1] === '/') {
        at += 1;
        yield { kind: 'boundary' };
        yield { kind: 'inside' };
      } else yield { kind: 'star', deep };
    } else if (letter === '?') yield { kind: 'any' };
    else if (letter === '[') {
      const end = endOfSet(letters, at);
      yield setOf(letters.slice(at + 1, end));
      at = end;
    } else if (letter === '\\') {
      at += 1;
      const meant = letters[at];
      if (meant === undefined) throw invalidRequest('the pattern ends with a backslash');
      yield { kind: 'letter', letter: meant };
    } else yield { kind: 'letter', letter };
  }
}

/** A bracket that comes first in a set is one of it. */
function endOfSet(letters: readonly string[], start: number): number {
  let at = start + 1;
  if (letters[at] === '^' || letters[at] === '!') at += 1;
  if (letters[at] === ']') at += 1;
  for (; at < letters.length; at += 1) {
    if (letters[at] === '\\') at += 1;
    else if (letters[at] === ']') return at;
  }
  throw invalidRequest('the pattern has a [ without its ]');
}

function setOf(letters: readonly string[]): Token {
  const negated = letters[0] === '^' || letters[0] === '!';
  const plain: string[] = [];
  const ranges: [string, string][] = [];
  for (let at = negated ? 1 : 0; at < letters.length; at += 1) {
    if (letters[at] === '\\') at += 1;
    else if (letters[at] === '-' && plain.length > 0 && at + 1 < letters.length) {
      at += letters[at + 1] === '\\' ? 2 : 1;
      const from = plain.pop();
      if (from !== undefined) ranges.push([from, letters[at] ?? from]);
      continue;
    }
    const letter = letters[at];
    if (letter !== undefined) plain.push(letter);
  }
  return { kind: 'set', negated, ranges: [...ranges, ...plain.map((letter) => [letter, letter] as const)] };
}

/** With what can be skipped: a star and any number of directories may be nothing. */
function reach(tokens: readonly Token[], from: readonly number[]): number[] {
  const all = new Set<number>();
  for (const state of from) {
    for (let at = state; !all.has(at); ) {
      all.add(at);
      const kind = tokens[at]?.kind;
      if (kind === 'star') at += 1;
      else if (kind === 'boundary') at += 2;
    }
  }
  return [...all];
}

function step(tokens: readonly Token[], states: readonly number[], letter: string): number[] {
  return states.flatMap((state) => {
    const token = tokens[state];
    if (token === undefined) return [];
    if (token.kind === 'star') return token.deep || letter !== '/' ? [state] : [];
    if (token.kind === 'boundary') return letter === '/' ? [state] : [state + 1];
    if (token.kind === 'inside') return letter === '/' ? [state - 1] : [state];
    return takes(token, letter) ? [state + 1] : [];
  });
}

function takes(token: Extract<Token, { kind: 'letter' | 'any' | 'set' }>, letter: string): boolean {
  if (token.kind === 'letter') return token.letter === letter;
  if (letter === '/') return false;
  if (token.kind === 'any') return true;
  return token.ranges.some(([from, to]) => from <= letter && letter <= to) !== token.negated;
}
