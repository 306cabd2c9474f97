import { expect, test } from 'vitest';
import { createPace } from './output-pace.ts';

test('a second’s worth goes at once, the rest at its pace, and a quiet time saves up no more than a second', async () => {
  let time = 5_000;
  const waits: number[] = [];
  const pace = createPace(1_000, {
    now: () => time,
    async wait(ms) {
      waits.push(ms);
      time += ms;
    },
  });
  await pace(1_000);
  expect(waits).toEqual([]);
  for (let left = 4; left > 0; left -= 1) await pace(500);
  expect(waits).toEqual([500, 500, 500, 500]);
  time += 3_600_000;
  await pace(1_000);
  expect(waits).toHaveLength(4);
  await pace(100);
  expect(waits.at(-1)).toBe(100);
});
