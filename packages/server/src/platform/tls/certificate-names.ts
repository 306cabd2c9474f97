import { isIP } from 'node:net';
import { hostname, networkInterfaces } from 'node:os';
import { parseListen } from '../config.ts';
import type { Config } from '../config-schema.ts';

/** What a certificate is good for. */
export interface CertificateNames {
  dns: readonly string[];
  ip: readonly string[];
}

const DNS_NAME = /^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;

/** Every name by which a client may reach this server and its previews. */
export function certificateNames(config: Pick<Config, 'listen' | 'publicUrl' | 'preview'>): CertificateNames {
  const { host } = parseListen(config.listen);
  const publicHost = config.publicUrl === undefined ? [] : [bare(new URL(config.publicUrl).hostname)];
  const domain = config.preview.domain?.replace(/:\d+$/, '');
  const named = [
    'localhost',
    '*.preview.localhost',
    '127.0.0.1',
    '::1',
    ...(isUnspecified(host) ? [hostname().toLowerCase(), ...ownAddresses()] : [bare(host.toLowerCase())]),
    ...publicHost,
    ...(domain === undefined ? [] : [domain, `*.${domain}`]),
  ];
  const names = [...new Set(named)];
  return {
    dns: names.filter((name) => isIP(name) === 0 && DNS_NAME.test(name)).sort(),
    ip: names.filter((name) => isIP(name) !== 0).sort(),
  };
}

const isUnspecified = (host: string) => host === '0.0.0.0' || bare(host) === '::';
const bare = (host: string) => host.replace(/^\[(.*)\]$/, '$1');

function ownAddresses(): string[] {
  return Object.values(networkInterfaces()).flatMap((addresses) =>
    // Those of a link only mean nothing without its name.
    (addresses ?? []).filter(({ scopeid }) => !scopeid).map(({ address }) => address),
  );
}
