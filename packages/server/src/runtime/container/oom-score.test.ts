import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { withOomScore } from './oom-score.ts';

const own = () => readFileSync('/proc/self/oom_score_adj', 'utf8').trim();

test('what starts meanwhile has the score, and this process has its own again, also after a failure', () => {
  const before = own();
  const child = withOomScore(700, () => execFileSync('cat', ['/proc/self/oom_score_adj'], { encoding: 'utf8' }));
  expect(child.trim()).toBe('700');
  expect(own()).toBe(before);
  expect(() =>
    withOomScore(700, () => {
      throw new Error('cannot start');
    }),
  ).toThrow('cannot start');
  expect(own()).toBe(before);
});
