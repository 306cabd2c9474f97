import { parseReference } from '../images/reference.ts';
import { DarkroomError, invalidRequest } from '../platform/errors.ts';

/**
 * The registry that a person means by `https://index.docker.io/v1/`, `ghcr.io/team` or `localhost:5000`, written as image
 * references write it, so that a pull finds its credentials by comparing.
 */
export function registryHost(url: string): string {
  const withoutScheme = url.trim().replace(/^[a-z][a-z0-9+.-]*:\/\//i, '');
  const host = withoutScheme.split(/[/?#]/, 1)[0] ?? '';
  // Credentials in the address would be stored in the open.
  if (host.includes('@')) throw invalidRequest('The registry url must not contain credentials');
  try {
    // A host without a dot or a port is one of Docker Hub's names to the parser.
    return parseReference(`${/[.:]/.test(host) ? host : `${host}:443`}/x:y`).registry.replace(
      /[.:]/.test(host) ? /$^/ : /:443$/,
      '',
    );
  } catch (error) {
    throw new DarkroomError('invalid_request', `${JSON.stringify(url.slice(0, 200))} is not the url of a registry`, {
      hint: 'Write its host, for example ghcr.io or registry.example.com:5000.',
      cause: error,
    });
  }
}
