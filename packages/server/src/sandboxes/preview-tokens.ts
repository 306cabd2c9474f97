import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { SecretBox } from '../platform/secrets.ts';

/** Part of a host name, so: no upper case, and together with a port at most 63 characters. 160 bits. */
const TOKEN_BYTES = 20;
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
export const PREVIEW_TOKEN = /^[a-z2-7]{32}$/;

export type PreviewSecrets = Pick<SecretBox, 'derive'>;

/** The token of one port of a sandbox: the same for the sandbox's whole life, and stored nowhere. */
export const portToken = (secrets: PreviewSecrets, sandboxId: string, port: number): string =>
  encode(secrets.derive(`preview token ${sandboxId} ${port}`).subarray(0, TOKEN_BYTES));

/** What a browser keeps after it has shown the token once. Worth no more than the token, but not the token. */
export const portCookie = (secrets: PreviewSecrets, sandboxId: string, port: number): string =>
  encode(secrets.derive(`preview cookie ${sandboxId} ${port}`).subarray(0, TOKEN_BYTES));

/** The token of a signed link. */
export const newLinkToken = (): string => encode(randomBytes(TOKEN_BYTES));

export const linkHash = (token: string): Buffer => createHash('sha256').update(token).digest();

/** How long it takes tells nothing about the secret, not even its length. */
export function sameSecret(given: string, secret: string): boolean {
  return timingSafeEqual(linkHash(given), linkHash(secret));
}

/** Base32 (RFC 4648) in lower case, for a length that needs no padding. */
function encode(bytes: Uint8Array): string {
  let [text, bits, held] = ['', 0, 0];
  for (const byte of bytes) {
    held = (held << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(held >> (bits - 5)) & 31];
    held &= (1 << bits) - 1;
  }
  return text;
}
