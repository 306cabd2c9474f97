import { expect, test } from 'vitest';
import { checkLabels, parseLabelFilter } from './labels.ts';

test('a label filter is a JSON object of strings', () => {
  expect(parseLabelFilter('{"a":"b"}')).toEqual({ a: 'b' });
  for (const text of ['{', '[]', 'null', '"a"', '{"a":1}', '{"a":{}}']) {
    expect(() => parseLabelFilter(text)).toThrow('Invalid labels JSON format');
  }
});

test('labels have bounds', () => {
  expect(() => checkLabels({ a: 'x'.repeat(5000) })).toThrow('longer than');
  expect(() => checkLabels({ a: '\0' })).toThrow('NUL');
  expect(() => checkLabels(Object.fromEntries(Array.from({ length: 201 }, (_, i) => [`${i}`, ''])))).toThrow('at most');
});
