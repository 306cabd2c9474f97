import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createLineSplitter, MAX_LINE } from './line-splitter.ts';

function lab() {
  const lines: string[] = [];
  let now = 0;
  const splitter = createLineSplitter({ emit: (text) => void lines.push(text), now: () => now });
  return {
    lines,
    splitter,
    push: (text: string) => splitter.push(Buffer.from(text)),
    /** Lets time pass, and does what is due. */
    wait(ms: number) {
      now += ms;
      if (splitter.dueAt !== undefined && splitter.dueAt <= now) splitter.showUnfinished();
    },
  };
}

function split(text: string | Uint8Array): string[] {
  const { lines, splitter } = lab();
  splitter.push(Buffer.from(text));
  splitter.end();
  return lines;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may get through
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/;

describe('lines', () => {
  test.each<[string, string, string[]]>([
    ['end with a line feed', 'a\n\nb\n', ['a', '', 'b']],
    ['or with the output', 'a\nb', ['a', 'b']],
    ['or as on Windows', 'a\r\nb \r\n\r\n', ['a', 'b ', '']],
    ['may be none', '', []],
    ['keep tabs and spaces', '\ta \n', ['\ta ']],
    ['have no colours', '\x1b[1;31mred\x1b[0m \x1b[38;5;10mgreen\x1b[m\n', ['red green']],
    [
      'have no titles, and the texts of links',
      '\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n',
      ['alink'],
    ],
    ['have no other control characters', 'a\0b\x07c\x7fd\u0085e\u202ef\x1b(Bg\x1b=h\n', ['abcdefgh']],
    ['survive sequences that do not end', 'a\x1b[12\nb\x1b]0;x\nc\x1b', ['a', 'b', 'c']],
    ['have no other separators', 'a\u2028b\vc\n', ['a b c']],
    ['show what stands after backspaces', '10%\b\b\b20%\n', ['20%']],
    ['show the last state of a progress bar', ' 10%\r 50%\r100%\n', ['100%']],
    ['show it as well when it is erased in the end', '10%\r100%\r\x1b[Kdone\n', ['done']],
    ['and when nothing follows', '10%\r\x1b[2K100%\r\x1b[2K\n', ['100%']],
    ['and when it is covered with spaces', '10%\r100%\r    \r\nnext\n', ['100%', 'next']],
    ['and at the end of the output', '10%\r20%\r', ['20%']],
    ['and after moves to the first column', '10%\x1b[1G20%\x1b[G30%\x1b[0K\n', ['30%']],
    ['take several returns as one', 'a\r\r\nb\n', ['a', 'b']],
    [
      'show rows that are drawn again as they are in the end',
      'a 1\nb 1\n\x1b[2A\x1b[2Ka 2\n\x1b[2Kb 1\nend\n',
      ['a 1', 'b 1', 'a 2', 'end'],
    ],
    ['do so without a line feed behind the last row', 'a 1\nb 1\x1b[1A\ra 2\nb 2', ['a 1', 'b 1', 'a 2', 'b 2']],
  ])('%s', (_, text, lines) => {
    expect(split(text)).toEqual(lines);
  });

  test('replace bytes that are no UTF-8', () => {
    expect(split(Buffer.from([0x61, 0xff, 0xc3, 0x0a, 0xe2, 0x82]))).toEqual(['a\ufffd\ufffd', '\ufffd']);
  });

  test('are cut when they are long, not within a character', () => {
    expect(split('x'.repeat(MAX_LINE))).toEqual(['x'.repeat(MAX_LINE)]);
    expect(split(`${'x'.repeat(MAX_LINE * 2)}y\nz`)).toEqual(['x'.repeat(MAX_LINE), 'x'.repeat(MAX_LINE), 'y', 'z']);
    expect(split(`${'x'.repeat(MAX_LINE - 1)}👍\n`)).toEqual(['x'.repeat(MAX_LINE - 1), '👍']);
  });

  test('are the same however the output comes in pieces', () => {
    const unit = fc.constantFrom(
      ...['a', 'ü', '👍', ' ', '\n', '\r', '\r\n', '\b', '\t', '\0', '\x1b', '[', ']', '2', 'K', '1', 'A', 'm'],
      ...['\x1b[2K', '\x1b[1A', '\x1b[31m', '\x1b]0;x\x07', '\x1b[1G', '\x1b[3D', 'word '],
    );
    fc.assert(
      fc.property(
        fc.array(unit, { maxLength: 60 }),
        fc.infiniteStream(fc.integer({ min: 1, max: 7 })),
        (units, sizes) => {
          const data = Buffer.from(units.join(''));
          const { lines, splitter } = lab();
          for (let at = 0; at < data.length; ) {
            const size = sizes.next().value ?? 1;
            splitter.push(data.subarray(at, at + size));
            at += size;
          }
          splitter.end();
          expect(lines).toEqual(split(data));
          expect(lines.join('')).not.toMatch(CONTROL);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test('lose nothing of any bytes without control characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        const plain = text.split(CONTROL).join('').toWellFormed();
        expect(split(plain).join('\n')).toBe(plain.replace(/\n$/, ''));
      }),
      { numRuns: 500 },
    );
  });
});

describe('while a program runs', () => {
  test('a question shows after a moment, and once', () => {
    const { lines, push, wait } = lab();
    push('Continue? [y/N] ');
    wait(100);
    expect(lines).toEqual([]);
    wait(500);
    expect(lines).toEqual(['Continue? [y/N] ']);
    push('n\n');
    expect(lines).toEqual(['Continue? [y/N] ', 'n']);
    push('Go? ');
    wait(1_000);
    push('\nend\n');
    expect(lines.slice(2)).toEqual(['Go? ', 'end']);
  });

  test('a line that grows slowly shows ever more rarely', () => {
    const { lines, push, wait } = lab();
    for (let second = 0; second < 600; second += 1) {
      push('.');
      wait(1_000);
    }
    push('\n');
    expect(lines.length).toBeLessThan(40);
    expect(lines.join('')).toBe('.'.repeat(600));
  });

  test('a progress bar shows about once a second, and as it is in the end', () => {
    const { lines, push, wait } = lab();
    for (let percent = 0; percent < 100; percent += 1) {
      push(`\r${percent}% ${'#'.repeat(percent)}`);
      wait(100);
    }
    push('\r100% done\n');
    expect(lines.at(-1)).toBe('100% done');
    expect(lines.length).toBeGreaterThan(8);
    expect(lines.length).toBeLessThan(13);
  });

  test('a progress bar that stands still shows where it is, once', () => {
    const { lines, push, wait } = lab();
    push('10%\r20%\r');
    for (let second = 0; second < 10; second += 1) wait(1_000);
    expect(lines).toEqual(['20%']);
    push('\n');
    expect(lines).toEqual(['20%']);
  });

  test('a spinner of backspaces does not flood', () => {
    const { lines, push, wait } = lab();
    for (let turn = 0; turn < 300; turn += 1) {
      push(`\b${'|/-\\'.charAt(turn % 4)}`);
      wait(100);
    }
    push('\n');
    expect(lines.length).toBeLessThan(40);
  });

  test('several bars at a time show about once a second', () => {
    const { lines, push, wait } = lab();
    push('a 0\nb 0\n');
    for (let turn = 1; turn <= 100; turn += 1) {
      push(`\x1b[2A\x1b[2Ka ${turn}\n\x1b[2Kb ${turn}\n`);
      wait(50);
    }
    expect(lines.length).toBeLessThan(16);
    push('ordinary\n');
    wait(1_000);
    expect(lines.slice(-3)).toEqual(['a 100', 'b 100', 'ordinary']);
  });
});
