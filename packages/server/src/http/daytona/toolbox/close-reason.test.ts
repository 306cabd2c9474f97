import { expect, test } from 'vitest';
import { closeReason } from './close-reason.ts';

test('a reason fits into a close frame and is cut between characters', () => {
  expect(closeReason('short')).toBe('short');
  expect(closeReason('x'.repeat(200))).toBe('x'.repeat(123));
  expect(closeReason('ü'.repeat(100))).toBe('ü'.repeat(61));
  expect(closeReason(`x${'𝄞'.repeat(50)}`)).toBe(`x${'𝄞'.repeat(30)}`);
});
