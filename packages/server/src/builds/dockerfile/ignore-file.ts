import { posix } from 'node:path';
import { type PathMatcher, pathMatcher } from './path-patterns.ts';

interface Rule {
  matches: PathMatcher;
  /** `!pattern` takes back in. */
  includes: boolean;
}

/** What a `.dockerignore` leaves out of the context. Paths are relative to it, without a slash in front. */
export interface IgnoreRules {
  /** The last rule that matches the path or a directory above it decides. */
  ignores(path: string): boolean;
  /** Whether something below an ignored directory may be taken back in, so that it must be looked into. */
  readonly hasExceptions: boolean;
}

const MAX_RULES = 10_000;

export function readIgnoreFile(text: string): IgnoreRules {
  return ignoreRules(
    text
      .replace(/^\uFEFF/, '')
      .split('\n')
      // A comment has its # at the very beginning of the line.
      .filter((line) => !line.startsWith('#'))
      .map((line) => line.trim()),
  );
}

/** Also of `COPY --exclude`. */
export function ignoreRules(patterns: readonly string[]): IgnoreRules {
  const rules = patterns.slice(0, MAX_RULES).flatMap((line) => ruleOf(line) ?? []);
  return {
    hasExceptions: rules.some((rule) => rule.includes),
    ignores(path) {
      const candidates = withParents(path);
      let ignored = false;
      for (const { matches, includes } of rules) {
        if (ignored === includes && candidates.some(matches)) ignored = !includes;
      }
      return ignored;
    },
  };
}

function ruleOf(line: string): Rule | undefined {
  const includes = line.startsWith('!');
  const written = includes ? line.slice(1).trim() : line;
  if (written === '') return undefined;
  const pattern = posix.normalize(written).replace(/^\/+/, '').replace(/\/+$/, '');
  if (pattern === '' || pattern === '.') return undefined;
  return { matches: pathMatcher(pattern, { deep: true }), includes };
}

/** `a/b/c`, `a/b` and `a`: who ignores a directory ignores what is in it. */
function withParents(path: string): string[] {
  const names = path.split('/');
  return names.map((_, index) => names.slice(0, names.length - index).join('/'));
}
