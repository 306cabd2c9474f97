import { expect, test } from 'vitest';
import { checkEnvironment } from './environment.ts';

test('names that no process can have are refused', () => {
  expect(() => checkEnvironment({ 'A=B': 'x' })).toThrow('must not contain "="');
  expect(() => checkEnvironment({ '': 'x' })).toThrow('is empty');
  expect(() => checkEnvironment({ 'A\0': 'x' })).toThrow('NUL');
});

test('values may be anything but NUL', () => {
  expect(() => checkEnvironment({ A: 'a=b\n"ü"' })).not.toThrow();
  expect(() => checkEnvironment({ A: 'a\0b' })).toThrow('A must not contain NUL');
});

test('what the kernel would refuse is refused with the name', () => {
  expect(() => checkEnvironment({ BIG: 'x'.repeat(128 * 1024) })).toThrow('BIG is larger than 128 KiB');
  const many = Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`V${index}`, 'x'.repeat(100_000)]));
  expect(() => checkEnvironment(many)).toThrow('together');
});
