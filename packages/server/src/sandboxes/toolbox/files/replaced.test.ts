import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { replaced } from './replaced.ts';

async function replace(text: string, pattern: string, replacement: string, size: number): Promise<string> {
  async function* chunks() {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
  }
  const result = replaced(chunks(), Buffer.from(pattern), Buffer.from(replacement));
  return (await buffer(Readable.from(result))).toString();
}

test('is what replaceAll gives, however the file is cut', async () => {
  for (const [text, pattern, replacement] of [
    ['one two one', 'one', 'three'],
    ['aaaaa', 'aa', 'b'],
    ['abab', 'ab', 'abab'],
    ['ünü', 'ü', ''],
    ['nothing', 'x', 'y'],
    ['', 'x', 'y'],
    ['x', 'x', ''],
  ] as const) {
    for (const size of [1, 2, 3, 100]) {
      expect(await replace(text, pattern, replacement, size), `${text} ${size}`).toBe(
        text.replaceAll(pattern, replacement),
      );
    }
  }
});

test('what grows a millionfold is never in memory as a whole', async () => {
  const replacement = Buffer.alloc(1024 * 1024, 'y');
  async function* chunks() {
    yield Buffer.alloc(256, 'x');
  }
  let total = 0;
  for await (const piece of replaced(chunks(), Buffer.from('x'), replacement)) {
    expect(piece.length).toBeLessThanOrEqual(2 * replacement.length);
    total += piece.length;
  }
  expect(total).toBe(256 * replacement.length);
});
