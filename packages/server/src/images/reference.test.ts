import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DarkroomError } from '../platform/errors.ts';
import { formatReference, parseReference } from './reference.ts';

const HEX = 'a'.repeat(64);

describe('references as Docker means them', () => {
  it.each([
    ['python', 'docker.io/library/python:latest'],
    ['python:3.12-slim', 'docker.io/library/python:3.12-slim'],
    ['daytonaio/sandbox:0.5', 'docker.io/daytonaio/sandbox:0.5'],
    ['docker.io/python:3', 'docker.io/library/python:3'],
    ['index.docker.io/library/python:3', 'docker.io/library/python:3'],
    ['localhost/app:1', 'localhost/app:1'],
    ['localhost:5000/app', 'localhost:5000/app:latest'],
    ['127.0.0.1:5000/a/b/c:1', '127.0.0.1:5000/a/b/c:1'],
    ['[::1]:5000/app:1', '[::1]:5000/app:1'],
    ['[2001:db8::7]/app:1', '[2001:db8::7]/app:1'],
    ['GHCR.io/org/app:V1', 'ghcr.io/org/app:V1'],
    ['registry:5000/app', 'registry:5000/app:latest'],
    ['registry/app', 'docker.io/registry/app:latest'],
    [`python@sha256:${HEX}`, `docker.io/library/python@sha256:${HEX}`],
    [`ghcr.io/org/app:1@sha256:${HEX}`, `ghcr.io/org/app:1@sha256:${HEX}`],
    ['a__b/c--d/e.f_g:1', 'docker.io/a__b/c--d/e.f_g:1'],
  ])('%s is %s', (text, full) => {
    expect(formatReference(parseReference(text))).toBe(full);
  });

  it.each([
    ['', /empty/],
    ['Python:3', /lower case/],
    ['ghcr.io/Org/app:1', /lower case/],
    ['Foo/bar', /lower case/],
    ['https://ghcr.io/org/app', /scheme/],
    ['docker://python', /scheme/],
    [HEX, /id of an image/],
    ['python:', /tag/],
    [`python:${'x'.repeat(129)}`, /tag/],
    ['python:a b', /tag/],
    ['python@sha256:abc', /digest/],
    [`python@sha256:${HEX.toUpperCase()}`, /digest/],
    [`python@sha512:${HEX}${HEX}`, /digest/],
    ['python@', /digest/],
    ['ghcr.io/', /repository/],
    ['ghcr.io//app', /repository/],
    ['../etc/passwd', /registry host/],
    ['a/../b', /repository/],
    ['a..b', /repository/],
    ['-a', /repository/],
    ['a___b', /repository/],
    ['localhost:0/app', /registry host/],
    ['localhost:99999/app', /registry host/],
    ['1.2.3.999/app', /registry host/],
    ['user@host/app', /digest/],
    ['user:pw@ghcr.io/app', /digest/],
    ['ghcr.io:5000:1/app', /registry host/],
    ['[::1/app', /registry host/],
    ['[zz::1]:5000/app', /registry host/],
    ['a\nb', /repository/],
    [`ghcr.io/${'a'.repeat(256)}`, /longer than 255/],
    ['a'.repeat(2000), /longer/],
  ])('%j is refused', (text, reason) => {
    expect(() => parseReference(text)).toThrow(reason);
    expect(() => parseReference(text)).toThrow(DarkroomError);
  });
});

const alphanumeric = fc.stringMatching(/^[a-z0-9]{1,8}$/);
const component = fc
  .tuple(alphanumeric, fc.array(fc.tuple(fc.constantFrom('.', '_', '__', '-', '---'), alphanumeric), { maxLength: 3 }))
  .map(([first, rest]) => first + rest.flat().join(''));
const registry = fc.constantFrom(
  'docker.io',
  'localhost',
  'localhost:5000',
  'ghcr.io',
  '10.0.0.1:80',
  '[::1]:5000',
  'r.example:443',
);
const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/);
const digest = fc.stringMatching(/^[a-f0-9]{64}$/).map((hex) => `sha256:${hex}`);
const reference = fc
  .record({
    registry,
    path: fc.array(component, { minLength: 2, maxLength: 4 }),
    tag: fc.option(tag, { nil: undefined }),
    digest: fc.option(digest, { nil: undefined }),
  })
  .map(({ path, ...rest }) => ({ ...rest, repository: path.join('/') }))
  .filter(({ tag, digest, repository }) => (tag ?? digest) !== undefined && repository.length <= 255);

describe('properties of references', () => {
  it('formatting and parsing again gives the same reference', () => {
    fc.assert(
      fc.property(reference, (value) => {
        expect(parseReference(formatReference(value))).toEqual(value);
      }),
    );
  });

  it('any text is either refused as invalid, or has a full form that means the same', () => {
    const nasty = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...'aZ0.:/@-_[] %') }));
    fc.assert(
      fc.property(nasty, (text) => {
        try {
          const parsed = parseReference(text);
          expect(parseReference(formatReference(parsed))).toEqual(parsed);
          expect(new URL(`https://${parsed.registry}/v2/`).pathname).toBe('/v2/');
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_request' });
        }
      }),
      { numRuns: 2000 },
    );
  });
});
