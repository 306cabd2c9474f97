import fc from 'fast-check';
import { expect, test } from 'vitest';
import { answerTtl, openTime } from './open-time.ts';

test('an address is open for longer than the sandbox may keep the answer, and within bounds', () => {
  fc.assert(
    fc.property(fc.oneof(fc.integer({ min: -1, max: 0xffffffff }), fc.constant(Number.NaN), fc.double()), (ttl) => {
      const { seconds, neededSeconds } = openTime(ttl);
      expect(neededSeconds).toBeGreaterThan(answerTtl(ttl));
      expect(seconds).toBeGreaterThanOrEqual(neededSeconds + 20);
      expect(seconds).toBeGreaterThanOrEqual(90);
      expect(seconds).toBeLessThanOrEqual(630);
      expect(answerTtl(ttl)).toBeGreaterThanOrEqual(0);
    }),
  );
});

test.each([
  [0, 90, 0],
  [5, 90, 5],
  [300, 330, 300],
  [86_400, 630, 600],
])('a time to live of %i s opens for %i s and is told as %i s', (ttl, open, told) => {
  expect([openTime(ttl).seconds, answerTtl(ttl)]).toEqual([open, told]);
});
