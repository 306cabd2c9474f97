import { expect, test } from 'vitest';
import { invalidRequest } from '../../platform/errors.ts';
import { BuildFailure } from '../failure.ts';
import { createRedactor } from '../logs/redactor.ts';
import { failureRecord, reasonOf } from './failure-record.ts';

const OUTPUT = [
  'Collecting nmpy',
  'ERROR: Could not find a version that satisfies the requirement nmpy (from versions: none)',
  'ERROR: No matching distribution found for nmpy',
  '',
  '[notice] A new release of pip is available: 24.0 -> 25.1',
];

function ofCommand(script: string, more: { message?: string; hint?: string } = {}) {
  const command = `/bin/sh -c ${script}`;
  const { message = `the command ${JSON.stringify(command)} ended with exit code 1`, hint } = more;
  const step = { number: 4, line: 7, text: `RUN ${script}`, command, exitCode: 1 };
  return new BuildFailure(message, { class: 'user', code: 'invalid_request', retryable: false, hint, step });
}
const tailOf = (lines: readonly string[]) => (_: number, count: number) =>
  lines.slice(-count).map((text) => ({ text }));

test('a reason says which step, what ran, how it ended, what it wrote, and what to do', () => {
  const record = failureRecord(ofCommand('pip install nmpy'), tailOf(OUTPUT));
  expect(reasonOf(record)).toBe(
    'Step 4 (line 7, RUN pip install nmpy) failed: the command ended with exit code 1. ' +
      'It wrote: ERROR: Could not find a version that satisfies the requirement nmpy (from versions: none) ⏎ ERROR: No matching distribution found for nmpy. ' +
      'There is no nmpy for this version of Python and this platform: check the name and the version, or take another base image. ' +
      'Building again without a change will not help.',
  );
});

test('a record is plain JSON with the last 50 lines', () => {
  const lines = Array.from({ length: 200 }, (_, index) => `line ${index}`);
  const record = failureRecord(ofCommand('make'), tailOf(lines));
  expect(JSON.parse(JSON.stringify(record))).toEqual({
    class: 'user',
    code: 'invalid_request',
    message: 'the command "/bin/sh -c make" ended with exit code 1',
    retryable: false,
    step: { number: 4, line: 7, text: 'RUN make', command: '/bin/sh -c make', exitCode: 1 },
    output: lines.slice(-50),
  });
});

test('a reason is never empty and never long', () => {
  expect(reasonOf(failureRecord(undefined, tailOf([])))).toMatch(/server failed.*Building again may help\.$/);
  expect(reasonOf(failureRecord(invalidRequest(''), tailOf([])))).not.toBe('');
  const wide = ofCommand('x'.repeat(50_000), { hint: 'y'.repeat(50_000) });
  const reason = reasonOf(failureRecord(wide, tailOf(Array.from({ length: 60 }, () => `error ${'z'.repeat(16_000)}`))));
  expect(reason.length).toBeLessThanOrEqual(2_000);
  expect(reason).toMatch(/Building again without a change will not help\.$/);
});

test('a reason has no secret that an instruction or a message has', () => {
  const secret = 'canary-4242';
  const failure = ofCommand(`login ${secret}`, { hint: `not with ${secret}` });
  const record = failureRecord(failure, tailOf([]), { redactor: createRedactor([secret]) });
  expect(JSON.stringify(record)).not.toContain(secret);
  expect(reasonOf(record)).not.toContain(secret);
});

test('what is not of a command says nothing of commands', () => {
  const failure = new BuildFailure('The image x:1 was not found', {
    class: 'user',
    code: 'image_unavailable',
    retryable: false,
    hint: 'Check the name and the tag of the image.',
    step: { number: 1, line: 1, text: 'FROM x:1', command: undefined, exitCode: undefined },
  });
  expect(reasonOf(failureRecord(failure, tailOf([])))).toBe(
    'Step 1 (line 1, FROM x:1) failed: The image x:1 was not found. Check the name and the tag of the image. Building again without a change will not help.',
  );
});

test('what PostgreSQL takes no text with is replaced, wherever it stands', () => {
  const record = failureRecord(ofCommand('a\0b\ud800'), tailOf(['x\0', '\udfff']));
  const { message, step, output } = record;
  for (const text of [message, step?.text ?? '', step?.command ?? '', ...output, reasonOf(record)]) {
    expect(text.includes('\0')).toBe(false);
    expect(text.isWellFormed()).toBe(true);
  }
});
