import type { FastifyRequest } from 'fastify';

/** The base that clients reach this server by, without a slash at the end: configured, else as this client just did. */
export function publicUrlOf(configured: string | undefined, request: FastifyRequest): string {
  if (configured !== undefined) return configured.replace(/\/+$/, '');
  return `${request.protocol}://${request.host}`;
}
