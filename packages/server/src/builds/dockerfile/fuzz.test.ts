import { describe, expect, test } from 'vitest';
import { createWorkCounter } from '../../test-support/count-work.ts';
import { holds } from '../../test-support/property.ts';
import { dockerfileProperties } from './testing/dockerfile-properties.ts';
import { NASTY_TEXTS } from './testing/nasty-texts.ts';
import { readWhole } from './testing/read-whole.ts';

describe('any text is a Dockerfile or is refused with its line', () => {
  test.each(dockerfileProperties())('$name', (property) => holds(property));
});

/** The square of it is more than there is time for. */
const LARGE = 256 * 1024;

describe('a large file takes no more than its share, when it is', () => {
  // What takes the square of its time would not end: a backtracking expression is no work that could be counted.
  test.each(Object.entries(NASTY_TEXTS))('%s', (_, make) => {
    readWhole(make(LARGE));
  });
});

test('twice the text is no more than about twice the work', async () => {
  const counter = await createWorkCounter(/builds\/dockerfile\/[a-z-]+\.ts$/);
  try {
    for (const [name, make] of Object.entries(NASTY_TEXTS)) {
      const [single, double] = [make(8000), make(16_000)];
      const work = await counter.count(() => void readWhole(single));
      expect(await counter.count(() => void readWhole(double)), name).toBeLessThan(3 * work + 50_000);
    }
  } finally {
    counter.close();
  }
}, 60_000);
