import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { DarkroomError, messageOf } from '../errors.ts';
import type { ServerIdentity } from './local-ca.ts';

/** The certificate and key that an operator gave, if they belong together. */
export async function readGivenCertificate(certFile: string, keyFile: string): Promise<ServerIdentity> {
  try {
    const [cert, key] = [await readFile(certFile, 'utf8'), await readFile(keyFile, 'utf8')];
    // The server's own comes first; the rest leads from it to its CA.
    if (new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) return { cert, key };
  } catch (cause) {
    throw new DarkroomError('invalid_request', `The certificate cannot be used: ${messageOf(cause)}`, {
      hint: 'tls.certFile and tls.keyFile name PEM files that the server can read.',
      cause,
    });
  }
  throw new DarkroomError('invalid_request', `${keyFile} is not the key of the certificate in ${certFile}`);
}
