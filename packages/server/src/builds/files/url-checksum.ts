import { invalidRequest } from '../../platform/errors.ts';

export interface WantedDigest {
  algorithm: 'sha256' | 'sha384' | 'sha512';
  hex: string;
}

const LENGTHS = { sha256: 64, sha384: 96, sha512: 128 } as const;

/** What `ADD --checksum` says. */
export function wantedDigest(text: string): WantedDigest {
  const [, name = '', hex = ''] = /^(sha256|sha384|sha512):([0-9a-f]+)$/.exec(text) ?? [];
  if ((name === 'sha256' || name === 'sha384' || name === 'sha512') && hex.length === LENGTHS[name]) {
    return { algorithm: name, hex };
  }
  throw invalidRequest(`--checksum=${text.slice(0, 150)} is no checksum`, {
    hint: 'Write sha256: and 64 hexadecimal digits.',
  });
}

export function checkDigest({ algorithm, hex }: WantedDigest, actual: string, what: string): void {
  if (actual === hex) return;
  throw invalidRequest(`${what}: its checksum is ${algorithm}:${actual}, and ${algorithm}:${hex} was asked for`, {
    hint: 'Its content has changed, or the checksum is of another file.',
  });
}
