import type { EscapeChar } from './directives.ts';
import type { SharedWork } from './expansion-budget.ts';
import type { Arg } from './instructions.ts';
import { syntaxError } from './syntax-error.ts';
import { expandWord, expandWords, WordError, type WordOptions } from './words.ts';

/** Usable in RUN without an ARG when the one who builds gives them, and then no part of a cache key. */
export const PROXY_VARIABLES: readonly string[] = [
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'FTP_PROXY',
  'NO_PROXY',
  'ALL_PROXY',
].flatMap((name) => [name, name.toLowerCase()]);

/** The variables at one place of a Dockerfile. A later instruction has another scope; nothing here changes. */
export interface Scope {
  escapeChar: EscapeChar;
  /** The image's environment as it grows by ENV: it goes into the image. */
  env: ReadonlyMap<string, string>;
  /** What ARG has declared here and that has a value. It hides what ENV said before; an ENV behind it takes its place. */
  args: ReadonlyMap<string, string>;
  /** What its words may take. Unlike the rest, those of later instructions have less of it. */
  work?: SharedWork;
}

export interface GivenValues {
  /** By the one who builds. */
  buildArgs: ReadonlyMap<string, string>;
  /** By ARGs before the first FROM, and by the platform. */
  global: ReadonlyMap<string, string>;
}

/** The scope behind ARGs. What was given wins over the line's default; without either, the value of before FROM counts. */
export function declareArgs(
  scope: Scope,
  instructions: readonly Pick<Arg, 'line' | 'args'>[],
  given: GivenValues,
): Scope {
  const declared = new Map(scope.args);
  const inner = { ...scope, args: declared };
  let chars = charsOf(declared);
  for (const { line, args } of instructions) {
    for (const { name: written, value } of args) {
      const name = word(inner, line, written);
      const fallback = value === undefined ? given.global.get(name) : word(inner, line, value);
      const result = given.buildArgs.get(name) ?? fallback;
      if (result === undefined) continue;
      const before = declared.get(name);
      chars += before === undefined ? name.length + result.length : result.length - before.length;
      declared.set(name, result);
      checkSize(declared, chars, line);
    }
  }
  return { ...scope, args: declared };
}

/** The scope behind an ENV. All values of one instruction see what was there before it. */
export function setEnv(scope: Scope, line: number, pairs: readonly (readonly [name: string, value: string])[]): Scope {
  const env = new Map([...scope.env, ...pairs]);
  checkSize(env, charsOf(env), line);
  const set = new Set(pairs.map(([name]) => name));
  return { ...scope, env, args: new Map([...scope.args].filter(([name]) => !set.has(name))) };
}

/** More than any program can be started with. */
const MAX_CHARS = 2 * 1024 * 1024;
const MAX_VARIABLES = 10_000;

function checkSize({ size }: ReadonlyMap<string, string>, chars: number, line: number): void {
  if (size > MAX_VARIABLES) throw syntaxError(line, `there are more than ${MAX_VARIABLES} variables`);
  if (chars > MAX_CHARS) throw syntaxError(line, `all variables together have more than ${MAX_CHARS} characters`);
}

function charsOf(variables: ReadonlyMap<string, string>): number {
  let chars = 0;
  for (const [name, value] of variables) chars += name.length + value.length;
  return chars;
}

export function lookupIn(scope: Scope): (name: string) => string | undefined {
  return (name) => scope.args.get(name) ?? scope.env.get(name);
}

/** What a process of a step gets: ARGs too. */
export function stepEnvironment(scope: Scope): Record<string, string> {
  return Object.fromEntries([...scope.env, ...scope.args]);
}

export function word(scope: Scope, line: number, text: string): string {
  return located(line, text, () => expandWord(text, options(scope)));
}

export function words(scope: Scope, line: number, text: string): string[] {
  return located(line, text, () => expandWords(text, options(scope)));
}

/** The content of a heredoc whose name was not quoted. */
export function content(scope: Scope, line: number, text: string): string {
  return located(line, text, () => expandWord(text, { ...options(scope), ignoreQuotes: true }));
}

function options(scope: Scope): WordOptions {
  return { escapeChar: scope.escapeChar, lookup: lookupIn(scope), work: scope.work };
}

function located<T>(line: number, text: string, expand: () => T): T {
  try {
    return expand();
  } catch (error) {
    if (error instanceof WordError)
      throw syntaxError(line, `${error.message} in ${JSON.stringify(text.slice(0, 200))}`);
    throw error;
  }
}
