import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DarkroomError, errnoOf } from '../errors.ts';
import { run } from '../process.ts';
import type { CertificateNames } from './certificate-names.ts';

const TIMEOUT_MS = 30_000;

/** A certificate that signs itself, for a CA of one level. */
export function makeCaCertificate(options: {
  directory: string;
  keyFile: string;
  name: string;
  days: number;
}): Promise<string> {
  const extensions = [
    'basicConstraints = critical, CA:TRUE, pathlen:0',
    'keyUsage = critical, keyCertSign, cRLSign',
    'subjectKeyIdentifier = hash',
  ];
  return inDraft(options.directory, options.name, extensions, async (config, result) => {
    await openssl(
      ...['req', '-x509', '-new', '-sha256', '-key', options.keyFile, '-days', String(options.days)],
      ...['-config', config, '-extensions', 'wanted', '-out', result],
    );
  });
}

export function makeServerCertificate(options: {
  directory: string;
  keyFile: string;
  ca: { certFile: string; keyFile: string };
  names: CertificateNames;
  days: number;
}): Promise<string> {
  const { directory, keyFile, ca, names, days } = options;
  const alternatives = [...names.dns.map((name) => `DNS:${name}`), ...names.ip.map((ip) => `IP:${ip}`)];
  const extensions = [
    'basicConstraints = critical, CA:FALSE',
    'keyUsage = critical, digitalSignature',
    'extendedKeyUsage = serverAuth',
    'subjectKeyIdentifier = hash',
    'authorityKeyIdentifier = keyid',
    `subjectAltName = ${alternatives.join(',')}`,
  ];
  return inDraft(directory, 'Darkroom', extensions, async (config, result) => {
    const request = `${result}.request`;
    await openssl('req', '-new', '-sha256', '-key', keyFile, '-config', config, '-out', request);
    await openssl(
      ...['x509', '-req', '-sha256', '-in', request, '-CA', ca.certFile, '-CAkey', ca.keyFile, '-days', String(days)],
      ...[
        '-set_serial',
        `0x7${randomBytes(15).toString('hex')}`,
        '-extfile',
        config,
        '-extensions',
        'wanted',
        '-out',
        result,
      ],
    );
  });
}

/** Only what stands here counts, not the configuration that the machine has for openssl. */
async function inDraft(
  directory: string,
  name: string,
  extensions: readonly string[],
  make: (config: string, result: string) => Promise<void>,
): Promise<string> {
  const draft = await mkdtemp(join(directory, '.draft-'));
  try {
    const config = join(draft, 'config');
    const lines = ['[req]', 'prompt = no', 'distinguished_name = subject', '[subject]', `CN = ${name}`, '[wanted]'];
    await writeFile(config, [...lines, ...extensions, ''].join('\n'));
    const result = join(draft, 'result');
    await make(config, result);
    return await readFile(result, 'utf8');
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}

async function openssl(...args: string[]): Promise<void> {
  try {
    await run('openssl', args, { timeoutMs: TIMEOUT_MS });
  } catch (error) {
    if (!(error instanceof Error) || errnoOf(error.cause) !== 'ENOENT') throw error;
    throw new DarkroomError('unavailable', 'openssl is not installed, which makes the certificates of --tls', {
      hint: 'Install it, or give certificates of your own: tls.certFile and tls.keyFile.',
      cause: error,
    });
  }
}
