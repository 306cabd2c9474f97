import { TarFormatError } from './types.ts';

/** The bytes of a field up to its first zero. */
export function cString(block: Buffer, start: number, length: number): Buffer {
  const end = block.indexOf(0, start);
  return block.subarray(start, end === -1 || end > start + length ? start + length : end);
}

/** A number field: octal text, or GNU's base-256 (two's complement, big endian) when the first bit is set. */
export function numberField(block: Buffer, start: number, length: number, what: string): number {
  const first = block[start] ?? 0;
  return (first & 0x80) === 0 ? octal(block, start, length, what) : base256(block, start, length, what);
}

function octal(block: Buffer, start: number, length: number, what: string): number {
  let value = 0;
  let at = start;
  const end = start + length;
  while (at < end && (block[at] === 0x20 || block[at] === 0)) at++;
  for (; at < end; at++) {
    const byte = block[at] ?? 0;
    if (byte === 0 || byte === 0x20) break;
    if (byte < 0x30 || byte > 0x37) throw new TarFormatError(`header field ${what} is not an octal number`);
    value = value * 8 + (byte - 0x30);
  }
  return value;
}

function base256(block: Buffer, start: number, length: number, what: string): number {
  const first = block[start] ?? 0;
  const negative = (first & 0x40) !== 0;
  let value = BigInt(first & 0x3f) - (negative ? 0x40n : 0n);
  for (let at = start + 1; at < start + length; at++) value = (value << 8n) | BigInt(block[at] ?? 0);
  return safeNumber(value, what);
}

function safeNumber(value: bigint, what: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new TarFormatError(`header field ${what} is out of range`);
  return number;
}

/** A decimal number as PAX records write it. */
export function decimal(text: string, what: string): number {
  if (!/^\d{1,19}$/.test(text)) throw new TarFormatError(`${what} is not a decimal number`);
  return safeNumber(BigInt(text), what);
}

/**
 * The sum over the header with its own field counted as blanks. Old writers summed signed bytes, and both are valid;
 * the two differ by 256 for each byte past 127.
 */
export function checksumMatches(block: Buffer): boolean {
  let unsigned = 0;
  let high = 0;
  for (let at = 0; at < 512; at++) {
    const byte = at >= 148 && at < 156 ? 0x20 : (block[at] ?? 0);
    unsigned += byte;
    if (byte > 127) high++;
  }
  const stored = octal(block, 148, 8, 'checksum');
  return stored === unsigned || stored === unsigned - 256 * high;
}

const ZERO_BLOCK = Buffer.alloc(512);

export function isZeroBlock(block: Buffer): boolean {
  return block[0] === 0 && block.equals(ZERO_BLOCK);
}
