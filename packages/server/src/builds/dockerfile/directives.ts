import { syntaxError } from './syntax-error.ts';

export type EscapeChar = '\\' | '`';

export interface Directives {
  /** The character that continues a line and quotes the next one. */
  escapeChar: EscapeChar;
  /** The frontend that is asked for. Read and not used: the language is the one that is built in. */
  syntax: string | undefined;
  check: string | undefined;
}

const DIRECTIVE = /^#[ \t]*([a-zA-Z][a-zA-Z0-9]*)[ \t]*=[ \t]*(.+)$/;

/** The comments at the very top that say how the rest is read. The first line that is anything else ends them. */
export function readDirectives(lines: readonly string[]): Directives {
  const found = new Map<string, string>();
  for (const [index, line] of lines.entries()) {
    const [, name, value] = DIRECTIVE.exec(line.trim()) ?? [];
    if (name === undefined || value === undefined) break;
    const key = name.toLowerCase();
    if (key !== 'escape' && key !== 'syntax' && key !== 'check') break;
    if (found.has(key)) throw syntaxError(index + 1, `the directive ${key} stands there twice`);
    if (key === 'escape' && value !== '\\' && value !== '`') {
      throw syntaxError(index + 1, `escape must be \\ or \`, not ${value}`);
    }
    found.set(key, value);
  }
  return {
    escapeChar: found.get('escape') === '`' ? '`' : '\\',
    syntax: found.get('syntax'),
    check: found.get('check'),
  };
}
