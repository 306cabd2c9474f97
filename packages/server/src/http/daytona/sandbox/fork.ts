import { forkManySchema, forkSandboxSchema, forksQuerySchema, sandboxSchema } from '@darkroom/contract';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { SandboxRow } from '../../../sandboxes/index.ts';
import { requirePermission } from '../../auth-plugin.ts';
import { noteForAudit } from '../audit-hook.ts';
import { baseUrl, type SandboxRouteDeps, sandboxParams } from './common.ts';
import { toSandboxDto } from './dto.ts';
import { callerOf } from './requests.ts';

const common = { tags: ['sandbox'], params: sandboxParams };
const path = '/sandbox/:sandboxIdOrName';

export function forkRoutes(deps: SandboxRouteDeps): FastifyPluginAsyncZod {
  const { sandboxes } = deps;
  return async (app) => {
    const write = {
      config: { rateLimit: 'sandbox-create' },
      onRequest: requirePermission('write:sandboxes'),
    } as const;
    app.post(
      `${path}/fork`,
      {
        ...write,
        schema: {
          ...common,
          summary: 'A new sandbox with the files that this one has now',
          body: forkSandboxSchema.nullish(),
          response: { 200: sandboxSchema },
        },
      },
      async (request, reply) => {
        const { sandboxIdOrName } = request.params;
        const { name } = request.body ?? {};
        const [row] = await sandboxes.fork(callerOf(request.auth), sandboxIdOrName, [{ name }]);
        if (row === undefined) return reply.callNotFound();
        noteForks(request, [row]);
        return toSandboxDto(row, baseUrl(deps, request));
      },
    );
    app.post(
      `${path}/forks`,
      {
        ...write,
        schema: {
          ...common,
          summary: 'Several new sandboxes with the files that this one has at one moment (not in Daytona)',
          body: forkManySchema,
          response: { 200: z.array(sandboxSchema) },
        },
      },
      async (request) => {
        const { sandboxIdOrName } = request.params;
        const rows = await sandboxes.fork(callerOf(request.auth), sandboxIdOrName, request.body.children);
        noteForks(request, rows);
        return rows.map((row) => toSandboxDto(row, baseUrl(deps, request)));
      },
    );
    app.get(
      `${path}/forks`,
      {
        schema: {
          ...common,
          summary: 'Forks of a sandbox',
          querystring: forksQuerySchema,
          response: { 200: z.array(sandboxSchema) },
        },
      },
      async (request) => {
        const { includeDestroyed } = request.query;
        const rows = await sandboxes.forks(callerOf(request.auth), request.params.sandboxIdOrName, {
          includeDestroyed: includeDestroyed === 'true',
        });
        return rows.map((row) => toSandboxDto(row, baseUrl(deps, request)));
      },
    );
    app.get(
      `${path}/parent`,
      { schema: { ...common, summary: 'The sandbox that it was forked from', response: { 200: sandboxSchema } } },
      async (request) => {
        const row = await sandboxes.parent(callerOf(request.auth), request.params.sandboxIdOrName);
        return toSandboxDto(row, baseUrl(deps, request));
      },
    );
    app.get(
      `${path}/ancestors`,
      {
        schema: {
          ...common,
          summary: 'Its parent, the parent of that, and so on',
          response: { 200: z.array(sandboxSchema) },
        },
      },
      async (request) => {
        const rows = await sandboxes.ancestors(callerOf(request.auth), request.params.sandboxIdOrName);
        return rows.map((row) => toSandboxDto(row, baseUrl(deps, request)));
      },
    );
  };
}

/** The parent is who something was done with; its children are what came of it. */
function noteForks(request: FastifyRequest, rows: readonly SandboxRow[]): void {
  const parent = rows[0]?.parent_id;
  if (parent == null) return;
  noteForAudit(request, { targetId: parent, metadata: { children: rows.map(({ id }) => id) } });
}
