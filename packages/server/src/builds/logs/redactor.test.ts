import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createRedactor, type Redactor } from './redactor.ts';

const CANARY = 'c4nary/+Sëcret "x" 9f81!';

function streamed(redactor: Redactor, data: Buffer, sizes: readonly number[]): string {
  const stream = redactor.stream();
  const pieces: Uint8Array[] = [];
  for (let at = 0, turn = 0; at < data.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    pieces.push(Buffer.from(stream.push(data.subarray(at, at + size))));
    at += size;
  }
  pieces.push(stream.end());
  return Buffer.concat(pieces).toString();
}

describe('a redactor', () => {
  test.each<[string, string]>([
    ['as it is', CANARY],
    ['in JSON', JSON.stringify(CANARY).slice(1, -1)],
    ['in a URL', encodeURIComponent(CANARY)],
    ['in a form', new URLSearchParams([['', CANARY]]).toString().slice(1)],
    ['in base64', Buffer.from(CANARY).toString('base64').replace(/=/g, '')],
    ['in base64 of a URL', Buffer.from(CANARY).toString('base64url')],
  ])('finds a secret %s', (_, form) => {
    const redactor = createRedactor([CANARY]);
    expect(redactor.text(`<${form}>`)).toBe('<***>');
    expect(streamed(redactor, Buffer.from(`<${form}>`), [1])).toBe('<***>');
  });

  test.each(['', 'u', 'us', 'user'])('finds a secret in the base64 of a pair with the user %j', (user) => {
    const shown = createRedactor([CANARY]).text(Buffer.from(`${user}:${CANARY}@`).toString('base64'));
    expect(shown).toContain('***');
    expect(shown.replace('***', '').length).toBeLessThan(16);
  });

  test('finds what base64 breaks into lines', () => {
    const secret = createHash('sha512').update('a').digest('hex').repeat(3);
    const encoded = Buffer.from(secret).toString('base64').replace(/.{76}/g, '$&\n');
    expect(createRedactor([secret]).text(encoded).replace(/[*\n]/g, '').length).toBeLessThan(8);
  });

  test('finds the lines of a secret of several lines, also alone, indented, or with other ends', () => {
    const redactor = createRedactor(['-----BEGIN KEY-----\nMIIEvQIB\nADANBgkq\n-----END KEY-----\n']);
    expect(redactor.text('a\n  MIIEvQIB\r\nb ADANBgkq c')).toBe('a\n  ***\r\nb *** c');
    expect(redactor.text('-----BEGIN KEY-----\nMIIEvQIB\nADANBgkq\n-----END KEY-----')).toBe('***');
  });

  test('finds short lines of a secret only together', () => {
    const redactor = createRedactor(['abc\ndef\nghi']);
    expect(redactor.text('abc x abc\ndef\nghi y')).toBe('abc x *** y');
    expect(redactor.text('abc\r\ndef\r\nghi')).toBe('***');
  });

  test('does not look for values of less than four bytes', () => {
    expect(createRedactor(['abc', '', '  x \n']).text('abcabc x')).toBe('abcabc x');
  });

  test('takes the longest where one secret begins with another', () => {
    const redactor = createRedactor(['token', 'token-and-more']);
    expect(streamed(redactor, Buffer.from('token token-and-more token-and'), [3])).toBe('*** *** ***-and');
  });

  test('holds nothing back but the beginning of a secret', () => {
    const stream = createRedactor(['secret']).stream();
    const pushed = (text: string) => Buffer.from(stream.push(Buffer.from(text))).toString();
    expect(pushed('some text\n')).toBe('some text\n');
    expect(pushed('a sec')).toBe('a ');
    expect(pushed('ond')).toBe('second');
    expect(pushed('sec')).toBe('');
    expect(pushed('ret')).toBe('***');
    expect(Buffer.from(stream.end()).toString()).toBe('');
  });

  test('finds every occurrence however the data is cut, and changes nothing else', () => {
    const letters = fc.string({ unit: fc.constantFrom('a', 'b', '\n', 'ü'), minLength: 0, maxLength: 60 });
    fc.assert(
      fc.property(
        fc.array(letters, { minLength: 1, maxLength: 3 }),
        letters,
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        (secrets, text, sizes) => {
          const redactor = createRedactor(secrets);
          const shown = streamed(redactor, Buffer.from(text), sizes);
          expect(shown).toBe(redactor.text(text));
          for (const secret of secrets) {
            const wanted = secret.trim();
            if (Buffer.byteLength(wanted) >= 4) expect(shown).not.toContain(wanted);
          }
          if (secrets.every((secret) => Buffer.byteLength(secret) < 4)) expect(shown).toBe(text);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('finds secrets longer than what it looks for in one piece', () => {
    const secret = Array.from({ length: 1_000 }, (_, index) => createHash('md5').update(`${index}`).digest('hex')).join(
      '',
    );
    const shown = streamed(createRedactor([secret]), Buffer.from(`<${secret}>`), [1_000]);
    expect(shown).toMatch(/^<(\*\*\*)+>$/);
  });
});
