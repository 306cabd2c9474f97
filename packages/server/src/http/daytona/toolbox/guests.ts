import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Sandboxes } from '../../../sandboxes/index.ts';
import type { AuthContext } from '../../../tenancy/auth-context.ts';

const paramsSchema = z.object({ sandboxId: z.string() });
const querySchema = z.object({
  DAYTONA_SANDBOX_AUTH_KEY: z.string().optional(),
  path: z.string().optional(),
  expires: z.string().optional(),
  signature: z.string().optional(),
});

/**
 * Who may in without a key of the API: browsers open WebSockets, which have no headers there, with the token of the sandbox's
 * port 1; and whoever has a signed URL of a file may use it. Undefined for everybody else.
 */
export function toolboxGuests({ previews, fileLinks }: Pick<Sandboxes, 'previews' | 'fileLinks'>) {
  return async (request: FastifyRequest): Promise<AuthContext | undefined> => {
    const params = paramsSchema.safeParse(request.params);
    const query = querySchema.safeParse(request.query);
    if (!params.success || !query.success) return undefined;
    const { sandboxId } = params.data;
    const { DAYTONA_SANDBOX_AUTH_KEY: token, path, expires, signature } = query.data;
    if (request.ws && token !== undefined) return guest(await previews.toolboxOwner(sandboxId, token));
    const isSigned = request.routeOptions.config.signedFiles === true && signature !== undefined;
    if (!isSigned || path === undefined || expires === undefined) return undefined;
    return guest(await fileLinks.ownerOf(sandboxId, { method: request.method, path, expires, signature }));
  };
}

function guest(organizationId: string | undefined): AuthContext | undefined {
  if (organizationId === undefined) return undefined;
  return {
    organizationId,
    userId: 'guest',
    keyId: 'guest',
    permissions: new Set(['write:sandboxes']),
    isAdmin: false,
  };
}
