import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { keepOutput } from './keep-output.ts';

test('a log that takes nothing for a while loses that while only, and says so once', async () => {
  const kept: string[] = [];
  const failures: unknown[] = [];
  const full = new Error('no space');
  const log = {
    async append(chunk: Uint8Array) {
      const text = Buffer.from(chunk).toString();
      if (text.startsWith('lost')) throw full;
      kept.push(text);
    },
  };
  const output = Readable.from(['one', 'lost 1', 'lost 2', 'two'].map((text) => Buffer.from(text)));
  await keepOutput(output, log, (error) => failures.push(error));
  expect(kept).toEqual(['one', 'two']);
  expect(failures).toEqual([full]);
});

test('an output that is let go of is no failure', async () => {
  const output = new Readable({ read() {} });
  const done = keepOutput(output, { append: async () => {} }, () => expect.unreachable());
  output.destroy();
  await done;
});
