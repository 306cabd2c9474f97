import type { Config } from '../platform/config-schema.ts';
import type { Log } from '../platform/log.ts';
import { certificateNames } from '../platform/tls/certificate-names.ts';
import { readGivenCertificate } from '../platform/tls/given-certificate.ts';
import { openLocalCa, type ServerIdentity } from '../platform/tls/local-ca.ts';
import type { Closers } from './closers.ts';

export interface Tls {
  identity: ServerIdentity;
  /** What clients must trust; undefined where the certificate is the operator's own. */
  caFile: string | undefined;
  /** Calls back with a new identity when it has been renewed. */
  follow(use: (identity: ServerIdentity) => void): void;
}

const LOOK_MS = 60_000;

export interface TlsDeps {
  config: Pick<Config, 'tls' | 'stateDir' | 'listen' | 'publicUrl' | 'preview'>;
  log: Pick<Log, 'info' | 'error'>;
  closers: Pick<Closers, 'add'>;
  /** How often to look for a renewed one. */
  lookMs?: number;
}

/** Undefined where the server speaks plain HTTP. */
export async function startTls(deps: TlsDeps): Promise<Tls | undefined> {
  const { config } = deps;
  const { enabled, certFile, keyFile } = config.tls;
  if (certFile !== undefined && keyFile !== undefined) {
    const read = () => readGivenCertificate(certFile, keyFile);
    const identity = await read();
    return { identity, caFile: undefined, follow: follower(identity, read, deps) };
  }
  if (!enabled) return undefined;
  const ca = await openLocalCa(config.stateDir);
  const names = certificateNames(config);
  const read = () => ca.identityFor(names);
  const identity = await read();
  return { identity, caFile: ca.caFile, follow: follower(identity, read, deps) };
}

function follower(
  first: ServerIdentity,
  read: () => Promise<ServerIdentity>,
  { log, closers, lookMs = LOOK_MS }: TlsDeps,
): Tls['follow'] {
  return (use) => {
    let last = first.cert;
    const look = async () => {
      try {
        const identity = await read();
        if (last !== identity.cert) {
          use(identity);
          log.info({}, 'the certificate of the server was renewed');
        }
        last = identity.cert;
      } catch (error) {
        log.error({ err: error }, 'the certificate of the server cannot be renewed; the old one stays in use');
      }
    };
    const timer = setInterval(() => void look(), lookMs);
    closers.add('certificate', () => clearInterval(timer));
  };
}
