import { expect, test } from 'vitest';
import type { Scope } from '../dockerfile/scope.ts';
import { chainOf, digestOf, variableParts } from './key-parts.ts';

const scope = (env: Record<string, string>, args: Record<string, string>): Scope => ({
  escapeChar: '\\',
  env: new Map(Object.entries(env)),
  args: new Map(Object.entries(args)),
});
const layer = (diffId: string) => ({ diffId, path: `/pool/${diffId}`, shortPath: diffId, sizeBytes: 1 });

test('variables count by name and value, whatever their order', () => {
  const parts = variableParts(scope({ A: '1', B: '2' }, { C: '3' }));
  expect(variableParts(scope({ B: '2', A: '1' }, { C: '3' }))).toEqual(parts);
  expect(variableParts(scope({ A: '1', B: '3' }, { C: '3' }))).not.toEqual(parts);
  expect(variableParts(scope({ A: '1' }, { B: '2', C: '3' }))['the environment']).not.toBe(parts['the environment']);
});

test('an ARG that the image’s own variable hides does not count', () => {
  expect(variableParts(scope({ A: '1' }, { A: 'other' }))).toEqual(variableParts(scope({ A: '1' }, {})));
});

test('no value can be read out of a key', () => {
  const parts = JSON.stringify(variableParts(scope({ TOKEN: 'canary-env' }, { PASSWORD: 'canary-arg' })));
  expect(parts).not.toMatch(/canary/);
});

test('the chain is its layers in their order', () => {
  expect(chainOf([layer('a'), layer('b')])).not.toBe(chainOf([layer('b'), layer('a')]));
  expect(chainOf([layer('ab')])).not.toBe(chainOf([layer('a'), layer('b')]));
  expect(chainOf([])).toBe(digestOf([]));
});
