import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseAllowList, parseDomainList } from './network-lists.ts';

test('ranges are taken as they are written, without blanks and doubles', () => {
  expect(parseAllowList(' 10.0.0.0/8, 203.0.113.7/32 ,10.0.0.0/8')).toEqual(['10.0.0.0/8', '203.0.113.7/32']);
  expect(parseAllowList('0.0.0.0/0')).toEqual(['0.0.0.0/0']);
  expect(parseAllowList('   ')).toEqual([]);
});

test.each(['10.0.0.1', '10.0.0.0/33', '300.0.0.0/8', 'example.com', '::/0', '10.0.0.0/8;1.1.1.1/32', '10.0.0.0/-1'])(
  'the range %j is named in the refusal',
  (entry) => {
    expect(() => parseAllowList(`192.0.2.0/24,${entry}`)).toThrow(JSON.stringify(entry));
  },
);

test('domains come out as the DNS has them', () => {
  expect(parseDomainList('Example.COM, *.Example.org.,bücher.de')).toEqual([
    'example.com',
    '*.example.org',
    'xn--bcher-kva.de',
  ]);
});

test.each([
  'https://a.com',
  'a.com:443',
  'a.com/x',
  '*',
  '*.*.com',
  'a.*.com',
  '*a.com',
  'localhost',
  '1.2.3.4',
  'a b.com',
  'a..com',
  '-a.com',
  'a\u0000.com',
])('the domain %j is named in the refusal', (entry) => {
  expect(() => parseDomainList(`ok.com,${entry}`)).toThrow(JSON.stringify(entry.trim()));
});

test('lists are bounded, and say so', () => {
  const many = (count: number, one: (index: number) => string) =>
    Array.from({ length: count }, (_, index) => one(index));
  expect(parseAllowList(many(10, (index) => `10.${index}.0.0/16`).join())).toHaveLength(10);
  expect(() => parseAllowList(many(11, (index) => `10.${index}.0.0/16`).join())).toThrow('has 11 entries; at most 10');
  expect(parseDomainList(many(20, (index) => `a${index}.com`).join())).toHaveLength(20);
  expect(() => parseDomainList(many(21, (index) => `a${index}.com`).join())).toThrow('has 21 entries; at most 20');
});

test('what is kept reads as the same list again, and any other text is refused as a request', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.array(fc.domain(), { maxLength: 4 }).map(String)), (text) => {
      for (const parse of [parseAllowList, parseDomainList]) {
        try {
          const list = parse(text);
          expect(parse(list.join(','))).toEqual(list);
        } catch (error) {
          expect(error).toMatchObject({ code: 'invalid_request' });
        }
      }
    }),
  );
});
