import { expect, test } from 'vitest';
import { invalidRequest, withHint } from './errors.ts';

test('what happened and what to do are two sentences', () => {
  expect(withHint(invalidRequest('/x is a directory', { hint: 'Delete it recursively.' }))).toBe(
    '/x is a directory. Delete it recursively.',
  );
  expect(withHint(invalidRequest('It has ended.', { hint: 'Make a new one.' }))).toBe('It has ended. Make a new one.');
  expect(withHint(invalidRequest('No.'))).toBe('No.');
});
