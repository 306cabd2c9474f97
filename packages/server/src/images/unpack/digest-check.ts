import { createHash } from 'node:crypto';
import { DarkroomError } from '../../platform/errors.ts';

/** Hashes bytes on their way, to compare with the digest that they should have. */
export interface DigestCheck {
  readonly expected: string;
  update(bytes: Buffer): void;
  /** The digest of all bytes; can be asked once. */
  digest(): string;
}

const DIGEST = /^(sha256):([0-9a-f]{64})$|^(sha512):([0-9a-f]{128})$/;

export function createDigestCheck(expected: string): DigestCheck {
  const match = DIGEST.exec(expected);
  const algorithm = match?.[1] ?? match?.[3];
  if (algorithm === undefined) {
    throw new DarkroomError(
      'image_invalid',
      `${JSON.stringify(expected.slice(0, 200))} is not a sha256 or sha512 digest`,
    );
  }
  const hash = createHash(algorithm);
  return {
    expected,
    update: (bytes) => void hash.update(bytes),
    digest: () => `${algorithm}:${hash.digest('hex')}`,
  };
}
