import { expect, test } from 'vitest';
import { parseGlob } from './glob.ts';

test.each([
  ['*.ts', ['a.ts', '.ts', 'a.b.ts'], ['a.tsx', 'ts', 'a/b.ts']],
  ['?.md', ['a.md', 'ü.md', '🙂.md'], ['.md', 'ab.md']],
  ['a*b*c', ['abc', 'aXbYc', 'abcbc'], ['ab', 'acb']],
  ['[a-c]x', ['ax', 'cx'], ['dx', 'x']],
  ['[^a-c]x', ['dx', '-x'], ['ax', '/x']],
  ['[]x]', [']', 'x'], ['[']],
  ['[a\\]]', ['a', ']'], ['\\']],
  ['[a-]', ['a', '-'], ['b']],
  ['\\*', ['*'], ['a', '\\*']],
  ['src/*.ts', ['src/a.ts'], ['src/b/a.ts', 'a.ts']],
  ['src/**/*.ts', ['src/a.ts', 'src/b/a.ts', 'src/b/c/a.ts'], ['lib/a.ts']],
  ['**/a', ['a', 'b/a', 'b/c/a'], ['ba', 'b/ca']],
  ['**', ['a', 'a/b'], []],
  ['plain', ['plain'], ['plai', 'plainer', 'Plain']],
])('%s', (pattern, fits, others) => {
  const matches = parseGlob(pattern);
  expect(fits.filter((text) => !matches(text))).toEqual([]);
  expect(others.filter(matches)).toEqual([]);
});

test('what is no pattern is refused', () => {
  for (const pattern of ['[a', '[', 'a\\', '[^]', '[]']) {
    expect(() => parseGlob(pattern), pattern).toThrow(/pattern/);
  }
});

test('a pattern that others choke on is matched in the time of any other', () => {
  expect(parseGlob(`${'*a'.repeat(100)}b`)('a'.repeat(4000))).toBe(false);
});
