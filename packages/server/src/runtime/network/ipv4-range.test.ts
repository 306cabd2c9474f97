import { BlockList } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { disjointRanges, formatIpv4Range, parseIpv4Range } from './ipv4-range.ts';

const byte = fc.nat({ max: 255 });
const address = fc.tuple(byte, byte, byte, byte).map((bytes) => bytes.join('.'));
// Near each other, so that many of them nest.
const range = fc
  .tuple(fc.constantFrom('10.0', '10.1', '192.168'), byte, byte, fc.integer({ min: 0, max: 32 }))
  .map(([start, third, fourth, bits]) => `${start}.${third}.${fourth}/${bits}`);

function listOf(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const one of ranges) {
    const [first = '', bits] = one.split('/');
    list.addSubnet(first, Number(bits), 'ipv4');
  }
  return list;
}

test('a list without what lies in others has the same addresses, and no two that overlap', () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 10 }), fc.array(address, { maxLength: 20 }), (ranges, addresses) => {
      const disjoint = disjointRanges(ranges.flatMap((text) => parseIpv4Range(text) ?? [])).map(formatIpv4Range);
      const [before, after] = [listOf(ranges), listOf(disjoint)];
      const starts = ranges.map((text) => text.split('/')[0] ?? '');
      for (const one of [...addresses, ...starts]) expect(after.check(one)).toBe(before.check(one));
      for (const one of disjoint) {
        const others = listOf(disjoint.filter((other) => other !== one));
        expect(others.check(one.split('/')[0] ?? '')).toBe(false);
      }
    }),
  );
});

test('bits of the host are dropped', () => {
  const parsed = parseIpv4Range('10.213.7.9/16');
  expect(parsed && formatIpv4Range(parsed)).toBe('10.213.0.0/16');
});

test.each([
  '',
  '10.0.0.0',
  '10.0.0.0/33',
  '10.0.0/8',
  '256.0.0.0/8',
  '10.0.0.0/',
  '::/0',
  ' 10.0.0.0/8',
  '10.0.0.0/8 ',
])('%j is no range', (text) => expect(parseIpv4Range(text)).toBeUndefined());
