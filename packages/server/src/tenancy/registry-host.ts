import { DEFAULT_REGISTRY } from '../images/reference.ts';
import { invalidRequest } from '../platform/errors.ts';

const HOST = /^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:\d{1,5})?$/;
const DOCKER_HUB = new Set(['index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com', 'hub.docker.com']);

/**
 * The registry that a person means by `https://index.docker.io/v1/`, `ghcr.io/team` or `localhost:5000`, written as image
 * references write it, so that a pull finds its credentials by comparing.
 */
export function registryHost(url: string): string {
  const withoutScheme = url.trim().replace(/^https?:\/\//i, '');
  const host = (withoutScheme.split(/[/?#]/, 1)[0] ?? '').toLowerCase();
  // Credentials in the address would be stored in the open.
  if (host.includes('@')) throw invalidRequest('The registry url must not contain credentials');
  if (!HOST.test(host) || !URL.canParse(`https://${host}/`)) {
    throw invalidRequest(`${JSON.stringify(url.slice(0, 200))} is not the url of a registry.`, {
      hint: 'Write its host, for example ghcr.io or registry.example.com:5000.',
    });
  }
  return DOCKER_HUB.has(host) ? DEFAULT_REGISTRY : host;
}
