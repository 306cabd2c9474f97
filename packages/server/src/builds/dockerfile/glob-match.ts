/** What a pattern is made of. `names`: any number of whole names, each with its slash. */
export type GlobToken =
  | { kind: 'char'; test: (char: string) => boolean }
  | { kind: 'star' }
  | { kind: 'deep-star' }
  | { kind: 'names' };

/**
 * Matches in time that grows with pattern times path, whatever they are: all ways through the pattern are followed at once, where a regular
 * expression would try them one after the other.
 */
export function globMatcher(tokens: readonly GlobToken[]): (path: string) => boolean {
  return (path) => {
    let active = startAt(tokens, new Set());
    for (const char of path) {
      const next = new Set<number>();
      for (const state of active) step(tokens, state, char, next);
      active = next;
      if (active.size === 0) return false;
    }
    return active.has(tokens.length * 2);
  };
}

/** State 2i stands before token i; 2i + 1 is inside a name of a `names` token. */
function startAt(tokens: readonly GlobToken[], states: Set<number>): Set<number> {
  enter(tokens, 0, states);
  return states;
}

/** Tokens that may match nothing are passed over at once. */
function enter(tokens: readonly GlobToken[], index: number, states: Set<number>): void {
  for (let at = index; !states.has(at * 2); at += 1) {
    states.add(at * 2);
    const token = tokens[at];
    if (token === undefined || token.kind === 'char') return;
  }
}

function step(tokens: readonly GlobToken[], state: number, char: string, next: Set<number>): void {
  const index = state >> 1;
  const token = tokens[index];
  if (token === undefined) return;
  if ((state & 1) === 1) {
    if (char === '/') enter(tokens, index, next);
    else next.add(state);
    return;
  }
  switch (token.kind) {
    case 'char':
      if (token.test(char)) enter(tokens, index + 1, next);
      break;
    case 'star':
      if (char !== '/') enter(tokens, index, next);
      break;
    case 'deep-star':
      enter(tokens, index, next);
      break;
    case 'names':
      if (char !== '/') next.add(state + 1);
  }
}
