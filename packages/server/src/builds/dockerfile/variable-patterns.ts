/** The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*` is any text, `?` one character, a backslash quotes the next. */

export function removePrefix(value: string, pattern: string, longest: boolean): string {
  const lengths = longest ? range(value.length, 0) : range(0, value.length);
  const matches = matcher(pattern);
  const cut = lengths.find((length) => matches(value.slice(0, length)));
  return cut === undefined ? value : value.slice(cut);
}

export function removeSuffix(value: string, pattern: string, longest: boolean): string {
  const starts = longest ? range(0, value.length) : range(value.length, 0);
  const matches = matcher(pattern);
  const cut = starts.find((start) => matches(value.slice(start)));
  return cut === undefined ? value : value.slice(0, cut);
}

/** The longest match at the first place that has one; with `all` at every place. An empty pattern matches before the first character. */
export function replacePattern(value: string, pattern: string, replacement: string, { all }: { all: boolean }): string {
  if (pattern === '') return replacement + value;
  const matches = matcher(pattern);
  let result = '';
  let at = 0;
  while (at < value.length) {
    const from = at;
    const end = range(value.length, at + 1).find((candidate) => matches(value.slice(from, candidate)));
    if (end === undefined) {
      result += value[at];
      at += 1;
      continue;
    }
    result += replacement;
    at = end;
    if (!all) break;
  }
  return result + value.slice(at);
}

/** Both ends count. */
function range(from: number, to: number): number[] {
  const step = from <= to ? 1 : -1;
  return Array.from({ length: Math.abs(to - from) + 1 }, (_, index) => from + index * step);
}

/** Whether a whole text matches. By table and not by regular expression: a hostile pattern must not take exponential time. */
function matcher(pattern: string): (text: string) => boolean {
  const tokens = tokensOf(pattern);
  return (text) => {
    let reachable = new Set([0]);
    const skipStars = (states: Set<number>) => {
      for (const state of states) if (tokens[state]?.kind === 'any') states.add(state + 1);
      return states;
    };
    reachable = skipStars(reachable);
    for (const char of text) {
      const next = new Set<number>();
      for (const state of reachable) {
        const token = tokens[state];
        if (token?.kind === 'any') next.add(state);
        else if (token?.kind === 'one' || (token?.kind === 'char' && token.char === char)) next.add(state + 1);
      }
      reachable = skipStars(next);
      if (reachable.size === 0) return false;
    }
    return reachable.has(tokens.length);
  };
}

type Token = { kind: 'any' } | { kind: 'one' } | { kind: 'char'; char: string };

function tokensOf(pattern: string): Token[] {
  const tokens: Token[] = [];
  const chars = [...pattern];
  for (let index = 0; index < chars.length; index++) {
    const char = chars[index] ?? '';
    if (char === '*') tokens.push({ kind: 'any' });
    else if (char === '?') tokens.push({ kind: 'one' });
    else if (char === '\\' && index + 1 < chars.length) {
      index += 1;
      tokens.push({ kind: 'char', char: chars[index] ?? '' });
    } else tokens.push({ kind: 'char', char });
  }
  return tokens;
}
