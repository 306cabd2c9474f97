import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ignoreRules, readIgnoreFile } from './ignore-file.ts';
import { pathMatcher } from './path-patterns.ts';

describe('a pattern', () => {
  test.each([
    ['*.txt', 'a.txt', true],
    ['*.txt', 'd/a.txt', false],
    ['a?c', 'abc', true],
    ['a?c', 'a/c', false],
    ['[a-c]x', 'bx', true],
    ['[^a-c]x', 'bx', false],
    ['[^a]x', '/x', false],
    ['[\\]a]', ']', true],
    ['a\\*', 'a*', true],
    ['a\\*', 'ab', false],
    ['a.c', 'abc', false],
    ['*', '한국', true],
  ])('%s and %s: %s', (pattern, path, expected) => expect(pathMatcher(pattern)(path)).toBe(expected));

  test.each(['[', '[a', 'a\\', '[z-a]', '*a'.repeat(40)])('%s is refused', (pattern) => {
    expect(() => pathMatcher(pattern)).toThrow('cannot be used');
  });

  test('is never slow, whatever is matched', () => {
    const matches = pathMatcher(`${'*a'.repeat(30)}b`);
    expect(matches('a'.repeat(4000))).toBe(false);
    expect(matches(`${'a'.repeat(4000)}b`)).toBe(true);
    expect(pathMatcher(`${'**/'.repeat(15)}x`, { deep: true })('a/'.repeat(2000))).toBe(false);
  });

  test('any text is a pattern or is refused', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('*', '?', '[', ']', '\\', '^', '-', '/', 'a', '.') }),
        (pattern) => {
          try {
            pathMatcher(pattern, { deep: true })('a/a.a/aa');
          } catch (error) {
            expect(error).toMatchObject({ code: 'invalid_request' });
          }
        },
      ),
    );
  });
});

describe('.dockerignore', () => {
  test('the last rule that matches decides, for a directory and all that is in it', () => {
    const rules = readIgnoreFile(
      '# comment\n*.md\n!README.md\n/build/\nnode_modules\n**/*.log\n  ./deep/**/x  \n\n!\n',
    );
    const ignored = (path: string) => rules.ignores(path);
    expect(
      ['a.md', 'build', 'build/o/x', 'node_modules/a', 'x.log', 'a/b/x.log', 'deep/x', 'deep/a/b/x'].filter(ignored),
    ).toHaveLength(8);
    expect(['README.md', 'd/a.md', 'src/node_modules', '#', 'a/build'].filter(ignored)).toEqual([]);
    expect(rules.hasExceptions).toBe(true);
  });

  test('everything but', () => {
    const rules = ignoreRules(['*', '!src', 'src/*.o']);
    expect(['a', 'b/c', 'src/x.o'].every((path) => rules.ignores(path))).toBe(true);
    expect(['src', 'src/main.c', 'src/d/x.o'].some((path) => rules.ignores(path))).toBe(false);
  });
});
