import { describe, expect, test } from 'vitest';
import { runFilter } from './bpf.ts';

const X64 = 0xc000003e;
const ALLOW = 0x7fff0000;
const EPERM = 0x00050001;

function program(...instructions: [code: number, jt: number, jf: number, k: number][]): Buffer {
  return Buffer.concat(
    instructions.map(([code, jt, jf, k]) => {
      const bytes = Buffer.alloc(8);
      bytes.writeUInt16LE(code, 0);
      bytes.writeUInt8(jt, 2);
      bytes.writeUInt8(jf, 3);
      bytes.writeUInt32LE(k >>> 0, 4);
      return bytes;
    }),
  );
}

const LOAD_NUMBER = [0x20, 0, 0, 0] as const;
const LOAD_FIRST_ARG = [0x20, 0, 0, 16] as const;
const ret = (k: number): [number, number, number, number] => [0x06, 0, 0, k];

describe('a filter', () => {
  test('decides by the number of the call', () => {
    const filter = program([...LOAD_NUMBER], [0x15, 0, 1, 39], ret(ALLOW), ret(EPERM));
    expect(runFilter(filter, { number: 39, arch: X64 })).toBe(ALLOW);
    expect(runFilter(filter, { number: 40, arch: X64 })).toBe(EPERM);
  });

  test('decides by the bits of an argument, unsigned', () => {
    const filter = program(
      [...LOAD_FIRST_ARG],
      [0x54, 0, 0, 0xf000_0000],
      [0x15, 0, 1, 0x8000_0000],
      ret(EPERM),
      ret(ALLOW),
    );
    expect(runFilter(filter, { number: 0, arch: X64, args: [0x8000_0001] })).toBe(EPERM);
    expect(runFilter(filter, { number: 0, arch: X64, args: [0x4000_0001] })).toBe(ALLOW);
  });

  test('jumps forward, by greater, by greater or equal, and by set bits', () => {
    const compare = (code: number) =>
      program([...LOAD_NUMBER], [code, 1, 0, 8], [0x05, 0, 0, 1], ret(ALLOW), ret(EPERM));
    const verdicts = (code: number) =>
      [7, 8, 9].map((number) => runFilter(compare(code), { number, arch: X64 }) === ALLOW);
    expect(verdicts(0x25)).toEqual([false, false, true]);
    expect(verdicts(0x35)).toEqual([false, true, true]);
    expect(verdicts(0x45)).toEqual([false, true, true]);
  });

  test('that is cut off, empty, without a verdict or of unknown instructions is refused', () => {
    const bad = [
      Buffer.alloc(0),
      program(ret(ALLOW)).subarray(0, 7),
      program([...LOAD_NUMBER]),
      program([0x99, 0, 0, 0], ret(ALLOW)),
      program([0x20, 0, 0, 64], ret(ALLOW)),
      program([0x05, 0, 0, 1000], ret(ALLOW)),
    ];
    for (const filter of bad) expect(() => runFilter(filter, { number: 0, arch: X64 })).toThrow(/malformed/);
  });
});
