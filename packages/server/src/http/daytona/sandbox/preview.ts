import { portPreviewUrlSchema, signedPortPreviewUrlSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { requirePermission } from '../../auth-plugin.ts';
import { previewUrl } from '../../preview/preview-url.ts';
import { baseUrl, type SandboxRouteDeps, sandboxParams } from './common.ts';
import { callerOf } from './requests.ts';

const params = sandboxParams.extend({ port: z.coerce.number() });

export function previewRoutes(deps: SandboxRouteDeps): FastifyPluginAsyncZod {
  const { previews } = deps.sandboxes;
  return async (app) => {
    app.get(
      '/sandbox/:sandboxIdOrName/ports/:port/preview-url',
      {
        onRequest: requirePermission('write:sandboxes'),
        schema: {
          summary: 'The URL of a port, and the token that opens it',
          tags: ['sandbox'],
          params,
          response: { 200: portPreviewUrlSchema },
        },
      },
      async (request) => {
        const { sandboxIdOrName, port } = request.params;
        const { sandboxId, token } = await previews.link(callerOf(request.auth), sandboxIdOrName, port);
        return { sandboxId, token, url: previewUrl(baseUrl(deps, request), deps.preview, sandboxId, port) };
      },
    );
    app.get(
      '/sandbox/:sandboxIdOrName/ports/:port/signed-preview-url',
      {
        onRequest: requirePermission('write:sandboxes'),
        schema: {
          summary: 'A URL of a port that opens by itself, for a while',
          tags: ['sandbox'],
          params,
          querystring: z.object({ expiresInSeconds: z.coerce.number().optional() }),
          response: { 200: signedPortPreviewUrlSchema },
        },
      },
      async (request) => {
        const { sandboxIdOrName, port } = request.params;
        const { expiresInSeconds } = request.query;
        const caller = callerOf(request.auth);
        const { sandboxId, token } = await previews.signedLink(caller, sandboxIdOrName, port, expiresInSeconds);
        return { sandboxId, port, token, url: previewUrl(baseUrl(deps, request), deps.preview, token, port) };
      },
    );
    app.post(
      '/sandbox/:sandboxIdOrName/ports/:port/signed-preview-url/:token/expire',
      {
        onRequest: requirePermission('write:sandboxes'),
        schema: { summary: 'Ends a signed URL', tags: ['sandbox'], params: params.extend({ token: z.string() }) },
      },
      async (request, reply) => {
        const { sandboxIdOrName, port, token } = request.params;
        await previews.expireLink(callerOf(request.auth), sandboxIdOrName, port, token);
        return reply.code(200).send();
      },
    );
  };
}
