import { expect, test } from 'vitest';
import { lastLines } from './git-work.ts';

test('what git said last, without progress and without what would steer a terminal', () => {
  expect(lastLines('Receiving 1%\rReceiving 100%\nremote: \u001b[2J\u009b31mred\u0007\n\nfatal: no\r\n')).toBe(
    'Receiving 100%\nremote:  [2J 31mred\nfatal: no',
  );
  expect(lastLines(Array.from({ length: 100 }, (_, at) => `line ${at}`).join('\n')).split('\n')).toHaveLength(20);
});
