import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { SecretBox } from '../platform/secrets.ts';

/** What a client signs its uploads with for a while. Nothing of it is stored: the token says it all and proves it. */
export interface UploadCredentials {
  accessKey: string;
  secret: string;
  sessionToken: string;
  expiresAt: Date;
}

export interface UploadIdentity {
  organizationId: string;
  /** The client has it too, and signs with it. */
  secret: string;
}

export interface UploadKeys {
  issue(organizationId: string, now?: number): UploadCredentials;
  /** Whose the token is; `invalid` for one that is not ours or belongs to another access key. */
  identify(accessKey: string, sessionToken: string, now?: number): UploadIdentity | 'invalid' | 'expired';
}

const LIFETIME_MS = 60 * 60_000;

/** ORGANIZATION.EXPIRY.CHANCE.PROOF, of which PROOF is over the three before it. */
export function createUploadKeys(secrets: Pick<SecretBox, 'derive'>): UploadKeys {
  const key = secrets.derive('upload credentials');
  const derived = (purpose: string, claims: string) =>
    createHmac('sha256', key).update(`${purpose} ${claims}`).digest();
  const accessKeyOf = (claims: string) =>
    `DARKROOM${derived('access key', claims).toString('hex', 0, 6).toUpperCase()}`;
  const secretOf = (claims: string) => derived('secret', claims).toString('base64url');

  return {
    issue(organizationId, now = Date.now()) {
      const expiresAt = now + LIFETIME_MS;
      const claims = `${organizationId}.${expiresAt.toString(36)}.${randomBytes(9).toString('base64url')}`;
      return {
        accessKey: accessKeyOf(claims),
        secret: secretOf(claims),
        sessionToken: `${claims}.${derived('token', claims).toString('base64url')}`,
        expiresAt: new Date(expiresAt),
      };
    },
    identify(accessKey, sessionToken, now = Date.now()) {
      const claims = sessionToken.slice(0, Math.max(0, sessionToken.lastIndexOf('.')));
      const proof = Buffer.from(sessionToken.slice(claims.length + 1), 'base64url');
      const expected = derived('token', claims);
      if (proof.length !== expected.length || !timingSafeEqual(proof, expected)) return 'invalid';
      if (accessKey !== accessKeyOf(claims)) return 'invalid';
      const [organizationId = '', expiry = ''] = claims.split('.');
      if (now >= Number.parseInt(expiry, 36)) return 'expired';
      return { organizationId, secret: secretOf(claims) };
    },
  };
}
