import { expect, test } from 'vitest';
import { bytesOfName, nameOfBytes } from './name-bytes.ts';

test('a name of UTF-8 is itself', () => {
  for (const name of ['plain', 'ü', '日本', '🙂 x', 'line\nbreak']) {
    expect(nameOfBytes(Buffer.from(name))).toBe(name);
    expect(bytesOfName(name)).toEqual(Buffer.from(name));
  }
});

test('other bytes come back as they were', () => {
  const names = [[0xff], [0x61, 0xe4, 0x62], [0xc3, 0xbc, 0x80], [0xed, 0xb2, 0x80], [0xf0, 0x9f, 0x99], [0xc0, 0xaf]];
  for (const bytes of names) {
    const name = nameOfBytes(Buffer.from(bytes));
    expect(name.isWellFormed(), name).toBe(false);
    expect([...bytesOfName(name)]).toEqual(bytes);
  }
  expect(nameOfBytes(Buffer.of(0x61, 0xe4, 0xc3, 0xbc))).toBe('a\udce4ü');
});

test('an escape never stands for an ASCII byte, so it cannot hide a slash or a zero', () => {
  expect(bytesOfName('\udc2f').includes(0x2f)).toBe(false);
  expect(bytesOfName('\udc00').includes(0)).toBe(false);
});
