import { expect, test } from 'vitest';
import { UnseenOutput } from './unseen-output.ts';

test('the last bytes are kept, in their order, and given once', () => {
  const output = new UnseenOutput(10);
  for (const piece of ['abc', 'defg', 'hijkl', 'm']) output.push(Buffer.from(piece));
  expect(output.take().toString()).toBe('defghijklm');
  expect(output.take().toString()).toBe('');
});

test('one piece may be larger than everything that is kept', () => {
  const output = new UnseenOutput(4);
  output.push(Buffer.from('0123456789'));
  expect(output.take().toString()).toBe('6789');
  output.push(Buffer.from('ab'));
  expect(output.take().toString()).toBe('ab');
});
