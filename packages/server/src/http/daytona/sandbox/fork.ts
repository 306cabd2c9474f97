import { forkManySchema, forkSandboxSchema, sandboxSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { requirePermission } from '../../auth-plugin.ts';
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
        return rows.map((row) => toSandboxDto(row, baseUrl(deps, request)));
      },
    );
    app.get(
      `${path}/forks`,
      { schema: { ...common, summary: 'Forks of a sandbox', response: { 200: z.array(sandboxSchema) } } },
      async (request) => {
        const rows = await sandboxes.forks(callerOf(request.auth), request.params.sandboxIdOrName);
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
