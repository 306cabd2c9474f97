import { invalidRequest } from '../../platform/errors.ts';
import { type GlobToken, globMatcher } from './glob-match.ts';

/**
 * Patterns of paths as Go's `filepath.Match` has them, which Docker uses: `*` and `?` within one name, `[a-z]`, `\x`; with
 * `deep` also `**`, any number of names, as in `.dockerignore`.
 */
export type PathMatcher = (path: string) => boolean;

/** Enough for people, too few to make a match slow. */
const MAX_LENGTH = 4096;
const MAX_WILDCARDS = 32;

export function hasWildcard(pattern: string): boolean {
  return /[*?[\\]/.test(pattern);
}

export function pathMatcher(pattern: string, options: { deep?: boolean } = {}): PathMatcher {
  const tokens = tokensOf(pattern, options.deep ?? false);
  return globMatcher(tokens);
}

function tokensOf(pattern: string, deep: boolean): GlobToken[] {
  if (pattern.length > MAX_LENGTH) throw bad(pattern, `it is longer than ${MAX_LENGTH} characters`);
  const chars = [...pattern];
  const tokens: GlobToken[] = [];
  let wildcards = 0;
  for (let at = 0; at < chars.length; at++) {
    const char = chars[at] ?? '';
    if (char === '*' || char === '?' || char === '[') wildcards += 1;
    if (wildcards > MAX_WILDCARDS) throw bad(pattern, `it has more than ${MAX_WILDCARDS} wildcards`);
    if (char === '*') {
      const isDeep = deep && chars[at + 1] === '*';
      while (chars[at + 1] === '*') at += 1;
      if (isDeep && chars[at + 1] === '/') {
        at += 1;
        // Also no name at all: `**/a` is `a` too.
        tokens.push({ kind: 'names' });
      } else tokens.push({ kind: isDeep ? 'deep-star' : 'star' });
    } else if (char === '?') tokens.push({ kind: 'char', test: (candidate) => candidate !== '/' });
    else if (char === '[') {
      const { test, end } = characterClass(chars, at, pattern);
      tokens.push({ kind: 'char', test });
      at = end;
    } else if (char === '\\') {
      at += 1;
      const quoted = chars[at];
      if (quoted === undefined) throw bad(pattern, 'it ends with a backslash');
      tokens.push(literal(quoted));
    } else tokens.push(literal(char));
  }
  return tokens;
}

function literal(char: string): GlobToken {
  return { kind: 'char', test: (candidate) => candidate === char };
}

function characterClass(chars: readonly string[], from: number, pattern: string) {
  let at = from + 1;
  const negated = chars[at] === '^';
  if (negated) at += 1;
  const ranges: [low: number, high: number][] = [];
  const next = (): string => {
    if (chars[at] === '\\') at += 1;
    const char = chars[at];
    if (char === undefined || char === '/') throw bad(pattern, 'a [ has no ]');
    at += 1;
    return char;
  };
  while (chars[at] !== ']' || ranges.length === 0) {
    const low = next();
    let high = low;
    if (chars[at] === '-' && chars[at + 1] !== ']') {
      at += 1;
      high = next();
    }
    const range: [number, number] = [low.codePointAt(0) ?? 0, high.codePointAt(0) ?? 0];
    if (range[0] > range[1]) throw bad(pattern, `the range ${low}-${high} is empty`);
    ranges.push(range);
  }
  const test = (candidate: string) => {
    const code = candidate.codePointAt(0) ?? 0;
    return candidate !== '/' && ranges.some(([low, high]) => low <= code && code <= high) !== negated;
  };
  return { test, end: at };
}

function bad(pattern: string, why: string) {
  return invalidRequest(`The pattern ${JSON.stringify(pattern.slice(0, 100))} cannot be used: ${why}`);
}
