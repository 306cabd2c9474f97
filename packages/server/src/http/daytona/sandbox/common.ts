import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Builds } from '../../../builds/index.ts';
import type { Config } from '../../../platform/config-schema.ts';
import type { Sandboxes } from '../../../sandboxes/index.ts';
import { publicUrlOf } from '../../public-url.ts';

export interface SandboxRouteDeps {
  sandboxes: Sandboxes;
  builds: Pick<Builds, 'read' | 'readLog' | 'watch'>;
  /** How clients reach the server, where that is configured. */
  publicUrl: string | undefined;
  /** What a person types to log in with a token; undefined where SSH is switched off. */
  sshCommand?: ((token: string) => string) | undefined;
  /** What the URLs of ports look like. */
  preview: Pick<Config['preview'], 'domain' | 'urls'>;
}

export const sandboxParams = z.object({ sandboxIdOrName: z.string() });

export const baseUrl = (deps: SandboxRouteDeps, request: FastifyRequest): string =>
  publicUrlOf(deps.publicUrl, request);
