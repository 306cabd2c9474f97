import {
  sandboxSchema,
  sshAccessQuerySchema,
  sshAccessSchema,
  sshAccessTokenQuerySchema,
  sshAccessValidationQuerySchema,
  sshAccessValidationSchema,
} from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { looksLikeSshToken } from '../../../sandboxes/ssh-access.ts';
import { assertOrganization, organizationHeader, requirePermission } from '../../auth-plugin.ts';
import { baseUrl, type SandboxRouteDeps, sandboxParams } from './common.ts';
import { toSandboxDto } from './dto.ts';
import { callerOf } from './requests.ts';

/** Tokens for logins by SSH. */
export function sshRoutes(deps: SandboxRouteDeps): FastifyPluginAsyncZod {
  const { sandboxes, sshCommand } = deps;
  return async (app) => {
    const common = { tags: ['sandbox'] };
    const change = { onRequest: requirePermission('write:sandboxes') };
    app.post(
      '/sandbox/:sandboxIdOrName/ssh-access',
      {
        ...change,
        schema: {
          ...common,
          summary: 'Make a token for logins by SSH',
          params: sandboxParams,
          querystring: sshAccessQuerySchema,
          response: { 200: sshAccessSchema },
        },
      },
      async ({ auth, params, query }) => {
        const caller = callerOf(auth);
        if (sshCommand === undefined) {
          return sandboxes.refuse(caller, params.sandboxIdOrName, 'Access by SSH (switched off by ssh.enabled)');
        }
        const access = await sandboxes.ssh.create(caller, params.sandboxIdOrName, query.expiresInMinutes);
        const createdAt = access.createdAt.toISOString();
        return {
          id: access.accessId,
          sandboxId: access.sandboxId,
          token: access.token,
          expiresAt: access.expiresAt.toISOString(),
          createdAt,
          updatedAt: createdAt,
          sshCommand: sshCommand(access.token),
        };
      },
    );
    app.delete(
      '/sandbox/:sandboxIdOrName/ssh-access',
      {
        ...change,
        config: { looksAtOrganization: true },
        schema: {
          ...common,
          summary: 'Revoke one token, or all of them',
          params: sandboxParams,
          querystring: sshAccessTokenQuerySchema,
          response: { 200: sandboxSchema },
        },
      },
      async (request) => {
        const { sandboxIdOrName } = request.params;
        // The Python clients send the token in the place of the organization.
        const named = organizationHeader(request);
        const misplaced = named !== undefined && looksLikeSshToken(named) ? named : undefined;
        if (misplaced === undefined) assertOrganization(request.auth, named);
        const token = request.query.token ?? misplaced;
        const row = await sandboxes.ssh.revoke(callerOf(request.auth), sandboxIdOrName, token);
        return toSandboxDto(row, baseUrl(deps, request));
      },
    );
    app.get(
      '/sandbox/ssh-access/validate',
      {
        schema: {
          ...common,
          summary: 'Whether a token opens a sandbox now',
          querystring: sshAccessValidationQuerySchema,
          response: { 200: sshAccessValidationSchema },
        },
      },
      async ({ auth, query }) => {
        const sandboxId = await sandboxes.ssh.validate(callerOf(auth), query.token);
        return { valid: sandboxId !== undefined, sandboxId: sandboxId ?? '' };
      },
    );
  };
}
