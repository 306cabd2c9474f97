import { expect, test } from 'vitest';
import { runscFailure, wordsOf } from './runsc-failure.ts';

const line = (msg: string, level = 'error') => JSON.stringify({ msg, level, time: '2026-01-01T00:00:00Z' });

test('the errors of a log are its words, with or without lines between them', () => {
  expect(wordsOf(`${line('one')}${line('passing', 'warning')}\n${line('a "} {" in it')}`)).toBe('one\na "} {" in it');
  expect(wordsOf('')).toBe('');
  expect(wordsOf('no JSON at all')).toBe('');
});

test('a sandbox that is not there is a conflict, anything else a failure of the machine', () => {
  expect(runscFailure('exec', 'loading sandbox: file does not exist')).toMatchObject({ code: 'conflict' });
  expect(runscFailure('start', 'cannot run with network enabled')).toMatchObject({ code: 'internal' });
  expect(runscFailure('start', '').message).toBe('runsc start: failed without a word');
});
