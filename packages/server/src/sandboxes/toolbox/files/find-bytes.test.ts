import fc from 'fast-check';
import { expect, test } from 'vitest';
import { findBytes } from './find-bytes.ts';

test('finds what Node finds, where texts of few letters have many false beginnings', () => {
  const letters = (minLength: number, maxLength: number) =>
    fc.string({ unit: fc.constantFrom('a', 'b'), minLength, maxLength }).map((text) => Buffer.from(text));
  const repeated = fc
    .tuple(letters(1, 5), fc.integer({ min: 26, max: 80 }), letters(0, 5))
    .map(([part, times, end]) => Buffer.concat([...Array.from({ length: times }, () => part), end]));
  fc.assert(
    fc.property(
      fc.oneof(letters(1, 4), repeated),
      fc.array(repeated, { maxLength: 4 }),
      fc.nat(300),
      (text, parts, from) => {
        for (const bytes of [Buffer.concat(parts), Buffer.concat([...parts, text, ...parts])]) {
          expect(findBytes(text)(bytes, from)).toBe(bytes.indexOf(text, from));
        }
      },
    ),
  );
});

test('a text that was made to be slow is not', () => {
  const half = 'a'.repeat(100_000);
  const find = findBytes(Buffer.from(`${half}b${half}`));
  // By Node's own search this would take minutes.
  for (let left = 20; left > 0; left -= 1) expect(find(Buffer.alloc(1024 * 1024, 'a'))).toBe(-1);
});
