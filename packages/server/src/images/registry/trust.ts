import { readFileSync } from 'node:fs';
import tls, { type SecureContext } from 'node:tls';
import { invalidRequest, messageOf } from '../../platform/errors.ts';
import { isLoopbackHost } from './address.ts';

/** Whether a host may be spoken to over http, or over https with a certificate that nobody vouches for. */
export function mayBeInsecure(url: URL, insecure: readonly string[]): boolean {
  return isLoopbackHost(url.hostname) || insecure.some((entry) => entry === url.host || entry === url.hostname);
}

/**
 * The certificates of the machine, Node's own (the machine may have none), and the configured ones. Made once, at the first
 * https connection: parsing some hundred certificates for each connection would cost more than the connection.
 */
export function createTrustedContext(caFiles: readonly string[]): () => SecureContext {
  const extra = caFiles.flatMap(readCertificates);
  let context: SecureContext | undefined;
  return () => {
    const known = () => [
      ...new Set([...tls.getCACertificates('system'), ...tls.getCACertificates('default'), ...extra]),
    ];
    context ??= tls.createSecureContext({ ca: known() });
    return context;
  };
}

function readCertificates(file: string): string[] {
  const found = readPem(file).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (found === null) throw invalidRequest(`registries.caFiles: ${file} has no certificate in PEM form`);
  return found;
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw invalidRequest(`registries.caFiles: ${messageOf(cause)}`, { cause });
  }
}
