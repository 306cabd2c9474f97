import { expect, test } from 'vitest';
import { z } from 'zod';
import { validationMessage } from './validation-message.ts';

/** What the zod provider makes of an issue. */
function messageFor(schema: z.ZodType, value: unknown): string {
  const issues = schema.safeParse(value).error?.issues ?? [];
  return validationMessage(
    issues.map(({ code, path, message, ...params }) => ({
      keyword: code,
      instancePath: `/${path.join('/')}`,
      message,
      params,
    })),
  );
}

test('bounds of numbers are told in words', () => {
  const schema = z.object({ cols: z.number().int().min(1).max(500), ratio: z.number().gt(0).lt(2) });
  expect(messageFor(schema, { cols: -1, ratio: 0 })).toBe('cols must be at least 1, ratio must be more than 0');
  expect(messageFor(schema, { cols: 501, ratio: 2 })).toBe('cols must be at most 500, ratio must be less than 2');
});

test('what is missing and what has the wrong type are told apart', () => {
  const schema = z.object({ command: z.string(), timeout: z.number() });
  expect(messageFor(schema, { timeout: 'x' })).toBe(
    'command is required and must be a string, timeout must be a number',
  );
});
