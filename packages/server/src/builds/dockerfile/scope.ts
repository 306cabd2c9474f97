import type { EscapeChar } from './directives.ts';
import type { Arg } from './instructions.ts';
import { syntaxError } from './syntax-error.ts';
import { expandWord, expandWords, WordError, type WordOptions } from './words.ts';

/** Usable in RUN without an ARG when the one who builds gives them; never part of a cache key. */
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
  /** The image's environment as it grows by ENV: it goes into the image, and hides ARGs of the same names. */
  env: ReadonlyMap<string, string>;
  /** What ARG has declared here and that has a value. */
  args: ReadonlyMap<string, string>;
}

export interface GivenValues {
  /** By the one who builds. */
  buildArgs: ReadonlyMap<string, string>;
  /** By ARGs before the first FROM, and by the platform. */
  global: ReadonlyMap<string, string>;
}

/** The scope behind an ARG. What was given wins over the line's default; without either, the value of before FROM counts. */
export function declareArgs(scope: Scope, { line, args }: Pick<Arg, 'line' | 'args'>, given: GivenValues): Scope {
  const declared = new Map(scope.args);
  for (const { name: written, value } of args) {
    const inner = { ...scope, args: declared };
    const name = word(inner, line, written);
    const fallback = value === undefined ? given.global.get(name) : word(inner, line, value);
    const result = given.buildArgs.get(name) ?? fallback;
    if (result !== undefined) declared.set(name, result);
  }
  return { ...scope, args: declared };
}

/** The scope behind an ENV. All values of one instruction see what was there before it. */
export function setEnv(scope: Scope, pairs: readonly (readonly [name: string, value: string])[]): Scope {
  return { ...scope, env: new Map([...scope.env, ...pairs]) };
}

export function lookupIn(scope: Scope): (name: string) => string | undefined {
  return (name) => scope.env.get(name) ?? scope.args.get(name);
}

/** What a process of a step gets: ARGs too, under those of the image. */
export function stepEnvironment(scope: Scope): Record<string, string> {
  return Object.fromEntries([...scope.args, ...scope.env]);
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
  return { escapeChar: scope.escapeChar, lookup: lookupIn(scope) };
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
