import { once } from 'node:events';
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { createBackgroundOutputs } from './background-outputs.ts';

const open = () => new Readable({ read() {} });

test('past the bound of a sandbox its oldest outputs are closed, those of others stay', async () => {
  const outputs = createBackgroundOutputs(2);
  const other = open();
  outputs.keep('other', [other]);
  const [first, second, third] = [open(), open(), open()];
  outputs.keep('box', [first, second]);
  outputs.keep('box', [third]);
  expect([other, first, second, third].map(({ destroyed }) => destroyed)).toEqual([false, true, false, false]);
});

test('what is closed by its processes makes room', async () => {
  const outputs = createBackgroundOutputs(1);
  const [first, second] = [open(), open()];
  outputs.keep('box', [first]);
  first.destroy();
  await once(first, 'close');
  outputs.keep('box', [second]);
  expect(second.destroyed).toBe(false);
});
