import { expect, test } from 'vitest';
import { createBudget } from './budget.ts';

test('a burst is served, then as many as come back with time, and only so many at once', () => {
  let time = 0;
  const budget = createBudget({ perSecond: 10, burst: 3, atOnce: 2, now: () => time });
  const begin = () => budget.begin();
  expect([begin(), begin(), begin()]).toEqual([true, true, false]);
  budget.end();
  expect([begin(), begin()]).toEqual([true, false]);
  budget.end();
  expect(begin()).toBe(false);
  time += 100;
  expect([begin(), begin()]).toEqual([true, false]);
  budget.end();
  budget.end();
  time += 60_000;
  expect([begin(), begin(), begin()]).toEqual([true, true, false]);
});

test('a clock that goes back gives nothing and takes nothing', () => {
  let time = 1_000;
  const budget = createBudget({ perSecond: 1, burst: 1, atOnce: 9, now: () => time });
  expect(budget.begin()).toBe(true);
  time = 0;
  expect(budget.begin()).toBe(false);
});
