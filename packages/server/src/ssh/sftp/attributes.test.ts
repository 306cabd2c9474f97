import { expect, test } from 'vitest';
import { attributesOf, longName, readAttributes } from './attributes.ts';
import { PacketReader, uint32 } from './wire.ts';

const stat = {
  size: 2 ** 40,
  mode: 0o104755,
  mtimeMs: 1_700_000_000_123,
  atimeMs: 1_600_000_000_000,
  uid: 1000,
  gid: 7,
};

test('what a file is can be read back as what it should be', () => {
  expect(readAttributes(new PacketReader(attributesOf(stat)))).toEqual({
    size: 2 ** 40,
    mode: 0o4755,
    owner: 1000,
    group: 7,
    atimeMs: 1_600_000_000_000,
    mtimeMs: 1_700_000_000_000,
  });
  expect(readAttributes(new PacketReader(uint32(0)))).toEqual({});
});

test('the long name is a line of ls', () => {
  const old = { ...stat, size: 12, mtimeMs: Date.UTC(2001, 1, 3, 4, 5) };
  expect(longName('a b', old, 'app', 'users')).toBe('-rwsr-xr-x    1 app      users          12 Feb  3  2001 a b');
  expect(longName('l', { ...old, mode: 0o120777 }, '5', '6').slice(0, 10)).toBe('lrwxrwxrwx');
  expect(longName('t', { ...old, mode: 0o041776 }, '5', '6').slice(0, 10)).toBe('drwxrwxrwT');
});

test('times before and after what the protocol can say are cut', () => {
  const times = { ...stat, atimeMs: -5000, mtimeMs: 2 ** 50 };
  expect(readAttributes(new PacketReader(attributesOf(times)))).toMatchObject({
    atimeMs: 0,
    mtimeMs: 0xffffffff * 1000,
  });
});
