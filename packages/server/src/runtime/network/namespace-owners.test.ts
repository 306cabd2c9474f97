import { expect, test } from 'vitest';
import { rangesOf } from './namespace-owners.ts';

test('ids that a machine or a container has are read from its map', () => {
  expect(rangesOf('         0          0 4294967295\n')).toEqual([{ from: 0, to: 4_294_967_295 }]);
  expect(rangesOf('0 100000 1000\n1000 200000 64536\n')).toEqual([
    { from: 0, to: 1000 },
    { from: 1000, to: 65_536 },
  ]);
});
