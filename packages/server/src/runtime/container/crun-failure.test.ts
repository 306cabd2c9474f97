import { expect, test } from 'vitest';
import { crunFailure } from './crun-failure.ts';

test.each([
  ['the container `x` is not running', 'conflict'],
  ['error opening file `/run/x/status`: No such file or directory', 'conflict'],
  ['container `x` already exists', 'conflict'],
  ['write `/y`: No space left on device', 'insufficient_storage'],
  ['clone: Resource temporarily unavailable', 'unavailable'],
  ['chdir `/a`: Permission denied', 'invalid_request'],
  ['something that was never seen before', 'internal'],
  ['', 'internal'],
])('crun’s «%s» is %s', (words, code) => {
  const error = crunFailure('run', words);
  expect(error.code).toBe(code);
  expect(error.message).toContain(words);
});
