import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Sandboxes } from '../../../sandboxes/index.ts';
import { publicUrlOf } from '../../public-url.ts';

export interface SandboxRouteDeps {
  sandboxes: Sandboxes;
  /** How clients reach the server, where that is configured. */
  publicUrl: string | undefined;
}

export const sandboxParams = z.object({ sandboxIdOrName: z.string() });

export const baseUrl = (deps: SandboxRouteDeps, request: FastifyRequest): string =>
  publicUrlOf(deps.publicUrl, request);
