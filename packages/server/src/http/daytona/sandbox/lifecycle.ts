import { resizeSandboxSchema, sandboxSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { requirePermission } from '../../auth-plugin.ts';
import { baseUrl, type SandboxRouteDeps, sandboxParams } from './common.ts';
import { toSandboxDto } from './dto.ts';
import { callerOf } from './requests.ts';

const schema = { tags: ['sandbox'], params: sandboxParams, response: { 200: sandboxSchema } };
const config = { rateLimit: 'sandbox-lifecycle' } as const;

export function lifecycleRoutes(deps: SandboxRouteDeps): FastifyPluginAsyncZod {
  const { sandboxes } = deps;
  return async (app) => {
    const write = { config, onRequest: requirePermission('write:sandboxes') };
    app.post(
      '/sandbox/:sandboxIdOrName/start',
      { ...write, schema: { ...schema, summary: 'Start a stopped sandbox with the files it had' } },
      async (request) => {
        const row = await sandboxes.start(callerOf(request.auth), request.params.sandboxIdOrName);
        return toSandboxDto(row, baseUrl(deps, request));
      },
    );
    app.post(
      '/sandbox/:sandboxIdOrName/stop',
      {
        ...write,
        schema: {
          ...schema,
          summary: 'Stop a sandbox and keep its files; force does not wait for its processes',
          querystring: z.object({ force: z.enum(['true', 'false']).optional() }),
        },
      },
      async (request) => {
        const force = request.query.force === 'true';
        const row = await sandboxes.stop(callerOf(request.auth), request.params.sandboxIdOrName, { force });
        return toSandboxDto(row, baseUrl(deps, request));
      },
    );
    app.post(
      '/sandbox/:sandboxIdOrName/recover',
      { ...write, schema: { ...schema, summary: 'Start a sandbox again that is in error state' } },
      async (request) => {
        const row = await sandboxes.recoverFailed(callerOf(request.auth), request.params.sandboxIdOrName);
        return toSandboxDto(row, baseUrl(deps, request));
      },
    );
    app.post(
      '/sandbox/:sandboxIdOrName/pause',
      { ...write, schema: { ...schema, summary: 'Stop the processes where they are; start lets them go on' } },
      async (request) => {
        const row = await sandboxes.pause(callerOf(request.auth), request.params.sandboxIdOrName);
        return toSandboxDto(row, baseUrl(deps, request));
      },
    );
    app.post(
      '/sandbox/:sandboxIdOrName/resize',
      { ...write, schema: { ...schema, summary: 'Change cpu, memory and disk', body: resizeSandboxSchema } },
      async (request) => {
        const { sandboxIdOrName } = request.params;
        const row = await sandboxes.resize(callerOf(request.auth), sandboxIdOrName, request.body);
        return toSandboxDto(row, baseUrl(deps, request));
      },
    );
    app.delete(
      '/sandbox/:sandboxIdOrName',
      {
        config,
        onRequest: requirePermission('delete:sandboxes'),
        schema: { ...schema, summary: 'Delete a sandbox; its name is free at once' },
      },
      async (request) => {
        const row = await sandboxes.remove(callerOf(request.auth), request.params.sandboxIdOrName);
        return toSandboxDto(row, baseUrl(deps, request));
      },
    );
  };
}
