import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DarkroomError, undefinedIfMissing } from '../errors.ts';
import { replaceFile } from '../replace-file.ts';
import type { CertificateNames } from './certificate-names.ts';
import { makeCaCertificate, makeServerCertificate } from './openssl.ts';

/** A certificate with its key, as a server takes them (PEM). */
export interface ServerIdentity {
  cert: string;
  key: string;
}

const DAY_MS = 24 * 3600_000;
const CA_DAYS = 20 * 365;
/** Longer ones are refused by some clients, whoever signed them. */
const SERVER_DAYS = 397;
const RENEW_BEFORE_DAYS = 30;

export interface LocalCa {
  /** What clients must trust (PEM). */
  caFile: string;
  /** The one that is there, or a new one when that runs out soon or does not have all the names. */
  identityFor(names: CertificateNames, now?: number): Promise<ServerIdentity>;
}

/** The CA of this state directory, made once; its key stays there and signs for this server alone. */
export async function openLocalCa(stateDir: string): Promise<LocalCa> {
  const directory = join(stateDir, 'tls');
  // Clients on this machine read the certificate; the keys are closed to them each.
  await mkdir(directory, { recursive: true, mode: 0o755 });
  await chmod(directory, 0o755);
  const at = (name: string) => join(directory, name);
  const ca = { certFile: at('ca.crt'), keyFile: at('ca.key') };
  const caKey = await keyIn(ca.keyFile);
  const caCertificate = await caOf(directory, ca, caKey);

  return {
    caFile: ca.certFile,
    async identityFor(names, now = Date.now()) {
      const key = await keyIn(at('server.key'));
      const current = await certificateIn(at('server.crt'));
      const isGood =
        current?.checkPrivateKey(key) === true &&
        current.verify(caCertificate.publicKey) &&
        current.checkIssued(caCertificate) &&
        now >= current.validFromDate.getTime() &&
        !endsWithin(current, now, RENEW_BEFORE_DAYS) &&
        hasNames(current, names);
      if (!isGood) {
        const made = await makeServerCertificate({
          directory,
          keyFile: at('server.key'),
          ca,
          names,
          days: SERVER_DAYS,
        });
        await replaceFile(at('server.crt'), made, 0o644);
      }
      return { cert: await readFile(at('server.crt'), 'utf8'), key: await readFile(at('server.key'), 'utf8') };
    },
  };
}

async function caOf(directory: string, ca: { certFile: string; keyFile: string }, key: KeyObject) {
  const there = await certificateIn(ca.certFile);
  if (there?.checkPrivateKey(key) === true && !endsWithin(there, Date.now(), SERVER_DAYS)) return there;
  const name = `Darkroom CA of ${hostname().replace(/[^\w.-]/g, '')}`.slice(0, 64);
  const made = await makeCaCertificate({ directory, keyFile: ca.keyFile, name, days: CA_DAYS });
  await replaceFile(ca.certFile, made, 0o644);
  return new X509Certificate(made);
}

async function keyIn(path: string): Promise<KeyObject> {
  const there = await textOf(path);
  if (there === undefined) {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await replaceFile(path, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), 0o600);
    return privateKey;
  }
  try {
    return createPrivateKey(there);
  } catch (cause) {
    throw new DarkroomError('internal', `${path} is not a private key`, {
      hint: 'Restore it from a backup. Without it, delete the directory; clients must then trust the new CA.',
      cause,
    });
  }
}

/** What cannot be read as a certificate is made anew. */
async function certificateIn(path: string): Promise<X509Certificate | undefined> {
  const text = await textOf(path);
  try {
    return text === undefined ? undefined : new X509Certificate(text);
  } catch {
    return undefined;
  }
}

const textOf = (path: string) => readFile(path, 'utf8').catch(undefinedIfMissing);

const endsWithin = ({ validToDate }: X509Certificate, now: number, days: number) =>
  validToDate.getTime() - now < days * DAY_MS;

function hasNames(certificate: X509Certificate, { dns, ip }: CertificateNames): boolean {
  const named = new Set((certificate.subjectAltName ?? '').split(', '));
  return dns.every((name) => named.has(`DNS:${name}`)) && ip.every((each) => certificate.checkIP(each) !== undefined);
}
