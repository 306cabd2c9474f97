import { createHash, randomBytes } from 'node:crypto';

const KEY_PATTERN = /^dtn_[0-9a-f]{64}$/;
const PREFIX_LENGTH = 'dtn_'.length;
const SUFFIX_LENGTH = 3;

export interface NewKey {
  /** Shown once, never stored. */
  value: string;
  hash: Buffer;
  prefix: string;
  suffix: string;
}

/** 256 random bits: guessing is out of reach, so one SHA-256 is enough and no salt or slow hash is needed. */
export function generateKey(): NewKey {
  const value = `dtn_${randomBytes(32).toString('hex')}`;
  return {
    value,
    hash: hashKey(value),
    prefix: value.slice(0, PREFIX_LENGTH),
    suffix: value.slice(-SUFFIX_LENGTH),
  };
}

/** Keys are found by their hash: how long the look-up takes tells nothing about a key. */
export function hashKey(value: string): Buffer {
  return createHash('sha256').update(value).digest();
}

/** Whether the value can be a key at all; anything else is refused without asking the database. */
export function looksLikeKey(value: string): boolean {
  return KEY_PATTERN.test(value);
}

/** As people see a key that was made earlier. */
export function maskKey(key: { prefix: string; suffix: string }): string {
  return `${key.prefix}${'*'.repeat(20)}${key.suffix}`;
}
