import { listSandboxesQuerySchema, sandboxListSchema, sandboxSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { buildInfoOf } from './build-info-of.ts';
import { baseUrl, type SandboxRouteDeps, sandboxParams } from './common.ts';
import { toSandboxDto, toSandboxListItem } from './dto.ts';
import { callerOf, toListRequest } from './requests.ts';

export function readRoutes(deps: SandboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/sandbox',
      {
        schema: {
          summary: 'List sandboxes, page by page',
          tags: ['sandbox'],
          querystring: listSandboxesQuerySchema,
          response: { 200: sandboxListSchema },
        },
      },
      async (request) => {
        const page = await deps.sandboxes.list(callerOf(request.auth), toListRequest(request.query));
        const url = baseUrl(deps, request);
        return { items: page.rows.map((row) => toSandboxListItem(row, url)), nextCursor: page.nextCursor };
      },
    );
    app.get(
      '/sandbox/:sandboxIdOrName',
      {
        schema: {
          summary: 'A sandbox by id or name',
          tags: ['sandbox'],
          params: sandboxParams,
          response: { 200: sandboxSchema },
        },
      },
      async (request) => {
        const row = await deps.sandboxes.get(callerOf(request.auth), request.params.sandboxIdOrName);
        return toSandboxDto(row, baseUrl(deps, request), await buildInfoOf(deps, request.auth, row));
      },
    );
    app.get(
      '/sandbox/:sandboxIdOrName/toolbox-proxy-url',
      {
        schema: {
          summary: 'Where the toolbox of a sandbox is reached',
          tags: ['sandbox'],
          params: sandboxParams,
          response: { 200: z.object({ url: z.string() }) },
        },
      },
      async (request) => {
        await deps.sandboxes.get(callerOf(request.auth), request.params.sandboxIdOrName);
        return { url: `${baseUrl(deps, request)}/toolbox` };
      },
    );
  };
}
