import { directorySchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { callerOf } from '../sandbox/requests.ts';
import { type ToolboxRouteDeps, toolboxParams } from './common.ts';

export function infoRoutes({ toolbox, version }: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    const directory = { tags: ['toolbox'], params: toolboxParams, response: { 200: directorySchema } };
    app.get('/:sandboxId/work-dir', { schema: { ...directory, summary: 'The work dir' } }, async (request) => {
      const { workDir } = await toolbox.directories(callerOf(request.auth), request.params.sandboxId);
      return { dir: workDir };
    });
    for (const path of ['user-home-dir', 'project-dir']) {
      app.get(`/:sandboxId/${path}`, { schema: { ...directory, summary: "The user's home" } }, async (request) => {
        const { home } = await toolbox.directories(callerOf(request.auth), request.params.sandboxId);
        return { dir: home };
      });
    }
    app.get(
      '/:sandboxId/version',
      {
        schema: {
          summary: 'The version of the toolbox',
          tags: ['toolbox'],
          params: toolboxParams,
          response: { 200: z.object({ version: z.string() }) },
        },
      },
      async (request) => {
        await toolbox.directories(callerOf(request.auth), request.params.sandboxId);
        return { version };
      },
    );
  };
}
