import type { FastifyRequest } from 'fastify';

/** Clients from here on read the logs of a session as JSON. */
const JSON_LOGS_SINCE = [0, 167] as const;

/**
 * Whether the logs of a session's command are wanted as JSON. SDKs tell their version in a header; clients that tell none get
 * JSON when they name it among what they accept.
 */
export function wantsJsonLogs(request: FastifyRequest): boolean {
  const version = /^v?(\d+)\.(\d+)\.(\d+)/.exec(String(request.headers['x-daytona-sdk-version'] ?? ''));
  if (version === null) return /application\/json/i.test(request.headers.accept ?? '');
  const [major = 0, minor = 0, patch = 0] = version.slice(1).map(Number);
  // Development versions are the newest.
  if (major === 0 && minor === 0 && patch === 0) return true;
  return major > JSON_LOGS_SINCE[0] || minor >= JSON_LOGS_SINCE[1];
}
