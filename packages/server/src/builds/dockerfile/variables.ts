import type { EscapeChar } from './directives.ts';
import { removePrefix, removeSuffix, replacePattern, type Spend } from './variable-patterns.ts';

export type Lookup = (name: string) => string | undefined;

export interface VariableContext {
  escapeChar: EscapeChar;
  lookup: Lookup;
  keepUnset?: boolean;
  /** Expands what stands behind an operator. */
  word: (text: string) => string;
  /** The same for a pattern, in which quoted characters stay quoted. */
  pattern: (text: string) => string;
  fail: (message: string) => Error;
  spend: Spend;
}

export interface Expanded {
  text: string;
  /** The index behind the expression. */
  next: number;
}

/** `$name`, `$1`, `${name}` and `${name<operator>word}`, beginning at the `$`. A `$` before anything else is itself. */
export function expandVariable(chars: readonly string[], at: number, context: VariableContext): Expanded {
  if (chars[at + 1] === '{') return braced(chars, at, context);
  const name = readName(chars, at + 1);
  if (name === '') return { text: '$', next: at + 1 };
  const next = at + 1 + name.length;
  const value = context.lookup(name);
  if (value === undefined && context.keepUnset) return { text: `$${name}`, next };
  return { text: value ?? '', next };
}

function braced(chars: readonly string[], at: number, context: VariableContext): Expanded {
  const name = readName(chars, at + 2);
  if (name === '') {
    if (chars[at + 2] === undefined) throw context.fail("syntax error: missing '}'");
    throw context.fail('syntax error: bad substitution');
  }
  const behind = at + 2 + name.length;
  if (chars[behind] === '}') {
    const next = behind + 1;
    const value = context.lookup(name);
    if (value === undefined && context.keepUnset) return { text: `\${${name}}`, next };
    return { text: value ?? '', next };
  }
  const end = closingBrace(chars, behind, context);
  const expression = chars.slice(behind, end).join('');
  const raw = chars.slice(at, end + 1).join('');
  return { text: operate(name, expression, raw, context), next: end + 1 };
}

/** `expression` begins with the operator. */
function operate(name: string, expression: string, raw: string, context: VariableContext): string {
  const value = context.lookup(name);
  const [, colon, operator, rest] = /^(:?)([-+?])([\s\S]*)$/.exec(expression) ?? [];
  if (operator !== undefined && rest !== undefined) {
    const isThere = value !== undefined && !(colon === ':' && value === '');
    return onAbsence({ name, value: value ?? '', isThere, operator, rest, context });
  }
  const [, pattern, word] = /^(##?|%%?|\/\/?)([\s\S]*)$/.exec(expression) ?? [];
  if (pattern === undefined || word === undefined)
    throw context.fail(`unsupported modifier (${expression.slice(0, 2)}) in substitution`);
  if (value === undefined && context.keepUnset) return raw;
  return onPattern(value ?? '', pattern, word, context);
}

function onAbsence(asked: {
  name: string;
  value: string;
  isThere: boolean;
  operator: string;
  rest: string;
  context: VariableContext;
}): string {
  const { name, value, isThere, operator, rest, context } = asked;
  if (operator === '+') return isThere ? context.word(rest) : '';
  if (isThere) return value;
  if (operator === '-') return context.word(rest);
  throw context.fail(`${name}: ${context.word(rest) || 'is not allowed to be unset'}`);
}

function onPattern(value: string, operator: string, word: string, context: VariableContext): string {
  context.spend(value.length + word.length);
  if (operator.startsWith('/')) {
    const slash = unescapedSlash(word, context.escapeChar);
    if (slash === -1) throw context.fail(`missing / in the replacement ${operator}${word}`);
    const pattern = context.pattern(word.slice(0, slash));
    const replacement = context.pattern(word.slice(slash + 1));
    return replacePattern(value, pattern, replacement, { all: operator === '//', spend: context.spend });
  }
  const pattern = context.pattern(word);
  const longest = operator.length === 2;
  const remove = operator.startsWith('#') ? removePrefix : removeSuffix;
  return remove(value, pattern, longest, context.spend);
}

function unescapedSlash(text: string, escapeChar: string): number {
  for (let index = 0; index < text.length; index++) {
    if (text[index] === escapeChar) index += 1;
    else if (text[index] === '/') return index;
  }
  return -1;
}

/** Digits, a special parameter, or letters, digits and underscores. */
function readName(chars: readonly string[], from: number): string {
  const first = chars[from] ?? '';
  if (/^[@*#?\-$!]$/.test(first)) return first;
  const part = /^[0-9]$/.test(first) ? /^[0-9]$/ : /^[A-Za-z0-9_]$/;
  let end = from;
  while (part.test(chars[end] ?? '')) end += 1;
  return chars.slice(from, end).join('');
}

function closingBrace(chars: readonly string[], from: number, context: VariableContext): number {
  let depth = 1;
  for (let index = from; index < chars.length; index++) {
    const char = chars[index];
    if (char === context.escapeChar) index += 1;
    else if (char === '$' && chars[index + 1] === '{') depth += 1;
    else if (char === '}') {
      depth -= 1;
      if (depth === 0) return index;
    }
  }
  throw context.fail("syntax error: missing '}'");
}
