import { isUtf8 } from 'node:buffer';

/**
 * Names on disk are bytes, and here they are strings: a byte b that is no part of UTF-8 is the lone surrogate U+DC00 + b, and
 * comes back as that byte (what Python calls `surrogateescape`). Nothing else can be written so, so every name has one string.
 */
export function nameOfBytes(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString('utf8');
  let name = '';
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    name += length === 0 ? String.fromCharCode(ESCAPE + (bytes[at] ?? 0)) : bytes.toString('utf8', at, at + length);
    at += length || 1;
  }
  return name;
}

export function bytesOfName(name: string): Buffer {
  if (name.isWellFormed()) return Buffer.from(name, 'utf8');
  const parts: Buffer[] = [];
  // By code points: a pair of surrogates is one of them, and what is left alone is an escape.
  for (const letter of name) {
    const code = letter.charCodeAt(0) - ESCAPE;
    const escaped = letter.length === 1 && code >= 0x80 && code <= 0xff;
    parts.push(escaped ? Buffer.of(code) : Buffer.from(letter, 'utf8'));
  }
  return Buffer.concat(parts);
}

const ESCAPE = 0xdc00;

/** Bytes of the valid UTF-8 sequence that begins here; 0 when none does. */
function sequenceLength(bytes: Buffer, at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length += 1) {
    if (isUtf8(bytes.subarray(at, at + length))) return length;
  }
  return 0;
}
