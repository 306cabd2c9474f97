import fc from 'fast-check';
import { expect, test } from 'vitest';
import { domainMatcher, isHostName } from './domain-list.ts';

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
const name = fc.array(label, { minLength: 2, maxLength: 5 }).map((labels) => labels.join('.'));

test('a name matches itself in any case, with or without the dot of the root, and nothing above or below it', () => {
  fc.assert(
    fc.property(name, label, (listed, more) => {
      const matches = domainMatcher([listed]);
      expect(matches(listed)).toBe(true);
      expect(matches(`${listed.toUpperCase()}.`)).toBe(true);
      expect(matches(`${more}.${listed}`)).toBe(false);
      expect(matches(`${more}${listed}`)).toBe(false);
      expect(matches(listed.slice(listed.indexOf('.') + 1))).toBe(false);
    }),
  );
});

test('a wildcard matches every name below, however deep, and not the name itself or one that only ends alike', () => {
  fc.assert(
    fc.property(name, fc.array(label, { minLength: 1, maxLength: 4 }), (parent, below) => {
      const matches = domainMatcher([`*.${parent}`]);
      expect(matches([...below, parent].join('.'))).toBe(true);
      expect(matches(parent)).toBe(false);
      expect(matches(`${below.join('')}${parent}`)).toBe(false);
    }),
  );
});

test('a list matches what one of its entries matches', () => {
  fc.assert(
    fc.property(fc.array(name, { maxLength: 6 }), name, (list, asked) => {
      expect(domainMatcher(list)(asked)).toBe(list.some((entry) => domainMatcher([entry])(asked)));
    }),
  );
});

test.each(['example.com', '_acme.example.com', 'xn--bcher-kva.de', 'a.b'])('%s is a name of a host', (text) => {
  expect(isHostName(text)).toBe(true);
});

test.each([
  '',
  '.',
  'a..b',
  '-a.b',
  'a-.b',
  'a b.c',
  'a\u0000.b',
  'é.fr',
  `${'a'.repeat(64)}.b`,
  `${'a.'.repeat(127)}com`,
])('%j is none', (text) => {
  expect(isHostName(text)).toBe(false);
});
