import { expect, test } from 'vitest';
import { TextLines } from './text-lines.ts';

function find(text: string, pattern: string, chunkSize: number) {
  const lines = new TextLines(Buffer.from(pattern));
  const bytes = Buffer.from(text);
  const found = [];
  for (let at = 0; at < bytes.length; at += chunkSize) found.push(...lines.push(bytes.subarray(at, at + chunkSize)));
  found.push(...lines.end());
  return found.map(({ line, content }) => `${line}:${content}`);
}

test('each line is found once with its number, however the file is cut into chunks', () => {
  const text = 'TODO one\nnothing\n  a TODO and a TODO\n\nTODO: ü last';
  for (const size of [1, 2, 3, 5, 7, 1000]) {
    expect(find(text, 'TODO', size), String(size)).toEqual(['1:TODO one', '3:  a TODO and a TODO', '5:TODO: ü last']);
  }
});

test('a line without end is looked through in pieces, and told of once', () => {
  const text = `first\n${'x'.repeat(3_000_000)}needle${'y'.repeat(3_000_000)}needle\nneedle`;
  for (const size of [64 * 1024, 1_000_003]) {
    const found = find(text, 'needle', size);
    expect(found).toHaveLength(2);
    expect(found[0]).toMatch(/^2:x+needley*$/);
    expect(found[0]?.length).toBeLessThan(2010);
    expect(found[1]).toBe('3:needle');
  }
});

test('nothing is found in nothing', () => {
  expect(find('', 'a', 1)).toEqual([]);
  expect(find('b\n', 'a', 1)).toEqual([]);
});
