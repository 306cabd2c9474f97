import { readFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { errnoOf } from '../../platform/errors.ts';
import type { NetworkLog } from './network-log.ts';

export interface Resolver {
  /** IPv4 addresses of the name servers that sandboxes ask. */
  nameServers: readonly string[];
  /** The sandboxes' /etc/resolv.conf. */
  resolvConf: string;
}

export interface ResolverFiles {
  host: string;
  /** systemd-resolved keeps the real name servers here, and its stub in the host's file. */
  behindStub: string;
}

const HOST_FILES: ResolverFiles = { host: '/etc/resolv.conf', behindStub: '/run/systemd/resolve/resolv.conf' };

// resolv.conf(5): the C library asks the first three and ignores the rest.
const MAX_NAME_SERVERS = 3;

/**
 * The name servers of sandboxes: the configured ones, else the host's. A server on the host's loopback cannot be reached from
 * another network namespace, and sandboxes have no IPv6, so both are left out.
 */
export function resolverFor(
  configured: readonly string[] | undefined,
  log: NetworkLog,
  files: ResolverFiles = HOST_FILES,
): Resolver {
  if (configured !== undefined) return configuredResolver(configured, log);
  for (const path of [files.host, files.behindStub]) {
    const text = readIfThere(path);
    const nameServers = fieldsOf(text, 'nameserver').filter(isReachable);
    if (nameServers.length > 0) return resolver(nameServers, linesOf(text, ['search', 'options']));
  }
  log.warn(
    { file: files.host },
    'sandboxes have no name server: the host has none that another network namespace can reach; set network.dns',
  );
  return { nameServers: [], resolvConf: '# No name server that a sandbox can reach is known: set network.dns.\n' };
}

function configuredResolver(configured: readonly string[], log: NetworkLog): Resolver {
  const nameServers = configured.filter(isReachable);
  const unusable = configured.filter((address) => !isReachable(address));
  if (unusable.length > 0) {
    log.warn({ unusable }, 'name servers in network.dns that sandboxes cannot reach (loopback, IPv6) are left out');
  }
  return resolver(nameServers, []);
}

function resolver(found: readonly string[], extraLines: readonly string[]): Resolver {
  const nameServers = [...new Set(found)].slice(0, MAX_NAME_SERVERS);
  const lines = [...nameServers.map((address) => `nameserver ${address}`), ...extraLines];
  return { nameServers, resolvConf: lines.map((line) => `${line}\n`).join('') };
}

function isReachable(address: string): boolean {
  return isIPv4(address) && !address.startsWith('127.') && !address.startsWith('0.');
}

function fieldsOf(text: string, keyword: string): string[] {
  return linesOf(text, [keyword]).flatMap((line) => line.split(/\s+/).slice(1, 2));
}

function linesOf(text: string, keywords: readonly string[]): string[] {
  const lines = text.split('\n').map((line) => line.trim());
  return lines.filter((line) =>
    keywords.some((keyword) => line.startsWith(`${keyword} `) || line.startsWith(`${keyword}\t`)),
  );
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}
