/** The patterns of `${x#p}`, `${x%p}` and `${x/p/r}`: `*` is any text, `?` one character, a backslash quotes the next. */

/** Told of the steps that matching takes; raises when there are too many. */
export type Spend = (steps: number) => void;

export function removePrefix(value: string, pattern: string, longest: boolean, spend: Spend): string {
  const chars = [...value];
  const end = matchEnd(tokensOf(pattern), chars, { from: 0, longest, spend });
  return end === undefined ? value : chars.slice(end).join('');
}

export function removeSuffix(value: string, pattern: string, longest: boolean, spend: Spend): string {
  const chars = [...value].reverse();
  const end = matchEnd(tokensOf(pattern).reverse(), chars, { from: 0, longest, spend });
  return end === undefined ? value : chars.slice(end).reverse().join('');
}

/** The longest match at the first place that has one; with `all` at every place. An empty pattern matches before the first character. */
export function replacePattern(
  value: string,
  pattern: string,
  replacement: string,
  { all, spend }: { all: boolean; spend: Spend },
): string {
  if (pattern === '') return replacement + value;
  const tokens = tokensOf(pattern);
  const chars = [...value];
  const pieces: string[] = [];
  let at = 0;
  while (at < chars.length) {
    const end = matchEnd(tokens, chars, { from: at, longest: true, spend });
    if (end === undefined || end === at) {
      pieces.push(chars[at] ?? '');
      at += 1;
      continue;
    }
    spend(replacement.length);
    pieces.push(replacement);
    at = end;
    if (!all) break;
  }
  return pieces.join('') + chars.slice(at).join('');
}

/**
 * Where a match that begins at `from` ends. All ways through the pattern are followed at once, where a regular expression would try them
 * one after the other: a hostile pattern must not take exponential time.
 */
function matchEnd(
  tokens: readonly Token[],
  chars: readonly string[],
  { from, longest, spend }: { from: number; longest: boolean; spend: Spend },
): number | undefined {
  let states = new Set<number>();
  enter(tokens, 0, states);
  let found: number | undefined;
  for (let at = from; ; at += 1) {
    spend(states.size + 1);
    if (states.has(tokens.length)) {
      found = at;
      if (!longest) return found;
    }
    const char = chars[at];
    if (char === undefined || states.size === 0) return found;
    const next = new Set<number>();
    for (const state of states) {
      const token = tokens[state];
      if (token?.kind === 'any') enter(tokens, state, next);
      else if (token?.kind === 'one' || (token?.kind === 'char' && token.char === char)) enter(tokens, state + 1, next);
    }
    states = next;
  }
}

/** No two stars stand behind each other, so that this is a step or two. */
function enter(tokens: readonly Token[], state: number, states: Set<number>): void {
  states.add(state);
  if (tokens[state]?.kind === 'any') states.add(state + 1);
}

type Token = { kind: 'any' } | { kind: 'one' } | { kind: 'char'; char: string };

function tokensOf(pattern: string): Token[] {
  const tokens: Token[] = [];
  const chars = [...pattern];
  for (let index = 0; index < chars.length; index++) {
    const char = chars[index] ?? '';
    if (char === '*') {
      if (tokens.at(-1)?.kind !== 'any') tokens.push({ kind: 'any' });
    } else if (char === '?') tokens.push({ kind: 'one' });
    else if (char === '\\' && index + 1 < chars.length) {
      index += 1;
      tokens.push({ kind: 'char', char: chars[index] ?? '' });
    } else tokens.push({ kind: 'char', char });
  }
  return tokens;
}
