import { expect, test } from 'vitest';
import { counted, shared, type Take } from './counted.ts';

function all(take: Take, key: string): (() => void)[] {
  const taken: (() => void)[] = [];
  for (let one = take(key); one !== undefined; one = take(key)) taken.push(one);
  return taken;
}

test('each has its own number, and what is given back twice is there once', () => {
  const take = counted(3);
  const [first] = all(take, 'a');
  expect(all(take, 'b')).toHaveLength(3);
  first?.();
  first?.();
  expect(all(take, 'a')).toHaveLength(1);
});

test('of what is shared, each leaves some', () => {
  const take = shared(100);
  const first = all(take, 'a');
  expect(first).toHaveLength(75);
  expect(all(take, 'b').length).toBeGreaterThan(15);
  expect(all(take, 'c').length).toBeGreaterThan(0);
  for (const back of first) back();
  expect(all(take, 'a').length).toBeGreaterThan(50);
});
