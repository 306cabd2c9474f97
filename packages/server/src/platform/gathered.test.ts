import { expect, test } from 'vitest';
import { gathered } from './gathered.ts';

test('gives the same bytes in fewer pieces', async () => {
  async function* chunks() {
    yield 'a';
    yield Buffer.from('bc');
    yield Buffer.from('defghi');
    yield Buffer.alloc(0);
    yield 'ü';
  }
  const pieces = [];
  for await (const piece of gathered(chunks(), 4)) pieces.push(piece.toString());
  expect(pieces).toEqual(['abcdefghi', 'ü']);
});

test('of nothing gives nothing', async () => {
  for await (const piece of gathered((async function* () {})(), 4)) expect(piece).toBe('never');
});
