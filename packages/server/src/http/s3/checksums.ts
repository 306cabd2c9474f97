import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** The checksums that clients send beside a body, in base64, as a header or a trailer `x-amz-checksum-<name>`. */
export const CHECKSUMS = ['crc32', 'crc32c', 'sha1', 'sha256'] as const;
export type ChecksumName = (typeof CHECKSUMS)[number];

export interface Checksum {
  update(chunk: Buffer): void;
  base64(): string;
}

export function createChecksum(name: ChecksumName): Checksum {
  switch (name) {
    case 'crc32':
      return cyclic(crc32);
    case 'crc32c':
      return cyclic(crc32c);
    case 'sha1':
    case 'sha256':
      return hashed(createHash(name));
  }
}

function hashed(hash: Hash): Checksum {
  return { update: (chunk) => void hash.update(chunk), base64: () => hash.digest('base64') };
}

function cyclic(next: (chunk: Buffer, value: number) => number): Checksum {
  let value = 0;
  return {
    update: (chunk) => {
      value = next(chunk, value);
    },
    base64: () => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(value >>> 0);
      return bytes.toString('base64');
    },
  };
}

/** Castagnoli's polynomial, reflected (RFC 3720, B.4). */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

function crc32c(chunk: Buffer, start: number): number {
  let value = ~start;
  for (const byte of chunk) value = (TABLE[(value ^ byte) & 0xff] ?? 0) ^ (value >>> 8);
  return ~value >>> 0;
}
