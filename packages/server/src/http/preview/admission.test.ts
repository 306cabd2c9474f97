import { expect, test } from 'vitest';
import { createAdmission } from './admission.ts';
import { PreviewProblem } from './problem.ts';

const LIMITS = { maxConnections: 100, maxConnectionsPerSandbox: 20 };

test('an organization with many sandboxes leaves places for others, who leave some for yet others', () => {
  const admission = createAdmission(LIMITS);
  const leaves: (() => void)[] = [];
  const fill = (organizationId: string): number => {
    const before = leaves.length;
    try {
      for (let at = 0; ; at += 1)
        leaves.push(admission.enter({ sandboxId: `${organizationId}-${at % 10}`, organizationId }));
    } catch (error) {
      expect(error).toBeInstanceOf(PreviewProblem);
      expect(error).toMatchObject({ status: 429, retryAfterSeconds: 1 });
    }
    return leaves.length - before;
  };
  expect(fill('one')).toBe(75);
  expect(fill('two')).toBeGreaterThan(10);
  expect(fill('three')).toBeGreaterThan(1);
  expect(fill('one')).toBe(0);
  for (const leave of leaves.splice(0)) {
    leave();
    leave();
  }
  expect(fill('two')).toBe(75);
});

test('a sandbox has no more than it may', () => {
  const admission = createAdmission(LIMITS);
  const one = { sandboxId: 'a', organizationId: 'o' };
  for (let at = 0; at < 20; at += 1) admission.enter(one);
  expect(() => admission.enter(one)).toThrow('This sandbox serves 20 connections');
  expect(() => admission.enter({ ...one, sandboxId: 'b' })).not.toThrow();
});
