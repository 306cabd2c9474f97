import type { Config } from '../../platform/config-schema.ts';
import { DEFAULT_REGISTRY } from '../reference.ts';
import type { RegistryCredentials } from '../types.ts';

/** One place that may have an image. */
export interface Endpoint {
  /** What credentials are looked up for: `docker.io`, `mirror.example:5000`. */
  host: string;
  isMirror: boolean;
  /** Scheme and host; undefined where it must be found out whether the registry speaks https. */
  scheme: 'https:' | 'http:' | undefined;
  address: string;
  repository: string;
  /** From a mirror's URL. */
  credentials: RegistryCredentials | undefined;
}

/** Docker Hub's API is not where its name says. */
const API_HOSTS: Readonly<Record<string, string>> = { [DEFAULT_REGISTRY]: 'registry-1.docker.io' };

/** The mirrors of a registry in their order, then the registry itself. */
export function endpointsOf(
  registry: string,
  repository: string,
  mirrors: Config['registries']['mirrors'],
): Endpoint[] {
  const own: Endpoint = {
    host: registry,
    isMirror: false,
    scheme: undefined,
    address: API_HOSTS[registry] ?? registry,
    repository,
    credentials: undefined,
  };
  return [...(mirrors[registry] ?? []).map((mirror) => mirrorEndpoint(new URL(mirror), repository)), own];
}

/** A mirror's path stands before the repository (`https://proxy.example/hub` has `hub/library/python`), as containers-registries.conf(5) has it. */
function mirrorEndpoint(url: URL, repository: string): Endpoint {
  const prefix = url.pathname.split('/').filter((part) => part !== '');
  if (prefix[0] === 'v2') prefix.shift();
  return {
    host: url.host,
    isMirror: true,
    scheme: url.protocol === 'http:' ? 'http:' : 'https:',
    address: url.host,
    repository: [...prefix, repository].join('/'),
    credentials:
      url.username === ''
        ? undefined
        : { username: decodeURIComponent(url.username), password: decodeURIComponent(url.password) },
  };
}

/** Mirrors that the configuration names with http may be spoken to that way. */
export function plainMirrors(mirrors: Config['registries']['mirrors']): string[] {
  return Object.values(mirrors)
    .flat()
    .map((mirror) => new URL(mirror))
    .filter(({ protocol }) => protocol === 'http:')
    .map(({ host }) => host);
}
