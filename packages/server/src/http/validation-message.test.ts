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

test('lengths are told in words', () => {
  const schema = z.object({ name: z.string().min(1), word: z.string().max(2), list: z.array(z.string()).min(2) });
  expect(messageFor(schema, { name: '', word: 'abc', list: [] })).toBe(
    'name must not be empty, word must have at most 2 characters, list must have at least 2 items',
  );
});

test('what maps names to values is called an object', () => {
  expect(messageFor(z.object({ args: z.record(z.string(), z.string()) }), { args: 1 })).toBe('args must be an object');
});

test('what is missing and what has the wrong type are told apart', () => {
  const schema = z.object({ command: z.string(), timeout: z.number() });
  expect(messageFor(schema, { timeout: 'x' })).toBe(
    'command is required and must be a string, timeout must be a number',
  );
});
