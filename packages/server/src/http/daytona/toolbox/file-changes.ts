import {
  deleteFileQuerySchema,
  filePermissionsQuerySchema,
  makeFolderQuerySchema,
  moveFileQuerySchema,
  replaceRequestSchema,
  replaceResultSchema,
} from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { requirePermission } from '../../auth-plugin.ts';
import { clientGone } from '../../client-gone.ts';
import { callerOf } from '../sandbox/requests.ts';
import { type ToolboxRouteDeps, toolboxParams } from './common.ts';
import { sendFileError } from './file-errors.ts';

const DEFAULT_MODE = 0o755;
const REPLACE_BODY_LIMIT = 8 * 1024 * 1024;

export function fileChangeRoutes({ toolbox }: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.setErrorHandler(sendFileError);
    app.addHook('onRequest', requirePermission('write:sandboxes'));
    const schema = { tags: ['toolbox'], params: toolboxParams };

    app.post(
      '/:sandboxId/files/folder',
      { schema: { ...schema, summary: 'Make a directory and its parents', querystring: makeFolderQuerySchema } },
      async (request, reply) => {
        const { path, mode } = request.query;
        const files = await toolbox.enter(callerOf(request.auth), request.params.sandboxId);
        await files.makeDirectory(path, mode ?? DEFAULT_MODE);
        return reply.code(201).send();
      },
    );

    app.delete(
      '/:sandboxId/files',
      { schema: { ...schema, summary: 'Delete a file or a directory', querystring: deleteFileQuerySchema } },
      async (request, reply) => {
        const { path, recursive } = request.query;
        const files = await toolbox.enter(callerOf(request.auth), request.params.sandboxId);
        await files.remove(path, { recursive, signal: clientGone(reply) });
        return reply.code(204).send();
      },
    );

    app.post(
      '/:sandboxId/files/move',
      { schema: { ...schema, summary: 'Move or rename, as mv does', querystring: moveFileQuerySchema } },
      async (request, reply) => {
        const { source, destination } = request.query;
        const files = await toolbox.enter(callerOf(request.auth), request.params.sandboxId);
        await files.move(source, destination, clientGone(reply));
        return reply.send();
      },
    );

    app.post(
      '/:sandboxId/files/permissions',
      { schema: { ...schema, summary: 'Owner, group and mode', querystring: filePermissionsQuerySchema } },
      async (request, reply) => {
        const { path, ...changes } = request.query;
        const files = await toolbox.enter(callerOf(request.auth), request.params.sandboxId);
        await files.change(path, changes);
        return reply.send();
      },
    );

    app.post(
      '/:sandboxId/files/replace',
      {
        bodyLimit: REPLACE_BODY_LIMIT,
        schema: {
          ...schema,
          summary: 'Replace a text in files',
          body: replaceRequestSchema,
          response: { 200: z.array(replaceResultSchema) },
        },
      },
      async (request, reply) => {
        const { files: paths, pattern, newValue } = request.body;
        const files = await toolbox.enter(callerOf(request.auth), request.params.sandboxId);
        const outcomes = await files.replace(paths, { pattern, replacement: newValue }, clientGone(reply));
        return outcomes.map(({ file, error }) => ({ file, success: error === undefined, error }));
      },
    );
  };
}
