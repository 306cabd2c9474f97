import fc from 'fast-check';
import { expect, test } from 'vitest';
import { RunMarks } from './run-marks.ts';

function scan(pieces: readonly Buffer[], run: string) {
  const marks = new RunMarks();
  marks.expect(run);
  let before = '';
  let after = '';
  const endings: string[] = [];
  for (const found of pieces.flatMap((piece) => marks.push(piece))) {
    if ('ending' in found) endings.push(found.ending.toString('latin1'));
    else if (endings.length === 0) before += found.text.toString('latin1');
    else after += found.text.toString('latin1');
  }
  return { before, endings, after };
}

test('the mark is found wherever an output is cut into pieces', () => {
  const text = fc.string({ unit: fc.constantFrom('a', '\x1e', '\n', 'r', '1') });
  fc.assert(
    fc.property(text, text, fc.array(fc.nat(40)), (before, after, cuts) => {
      fc.pre(!`${before}\x1e`.includes('\x1er1\x1e') && !before.endsWith('\x1er1'));
      const whole = Buffer.from(`${before}\x1er1\x1e{}\n${after}`, 'latin1');
      const at = [0, ...cuts.filter((cut) => cut < whole.length).sort((a, b) => a - b), whole.length];
      const pieces = at.slice(1).map((end, i) => whole.subarray(at[i], end));
      expect(scan(pieces, 'r1')).toEqual({ before, endings: ['{}'], after });
    }),
  );
});

test('another run’s mark is text, and nothing is held back that cannot be the mark', () => {
  const marks = new RunMarks();
  marks.expect('r2');
  expect(marks.push(Buffer.from('\x1er1\x1e{}\nx'))).toEqual([{ text: Buffer.from('\x1er1\x1e{}\nx') }]);
  expect(marks.push(Buffer.from('y\x1er'))).toEqual([{ text: Buffer.from('y') }]);
  expect(marks.push(Buffer.from('3'))).toEqual([{ text: Buffer.from('\x1er3') }]);
});

test('an ending without an end is not collected for ever', () => {
  const marks = new RunMarks();
  marks.expect('r1');
  marks.push(Buffer.from('\x1er1\x1e'));
  const found = marks.push(Buffer.alloc(2 * 1024 * 1024, 'x'));
  expect(found).toHaveLength(1);
  expect('ending' in (found[0] ?? {})).toBe(true);
});
