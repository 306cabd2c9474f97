import { Readable } from 'node:stream';
import {
  fileInfoSchema,
  fileMatchSchema,
  filePatternQuerySchema,
  listFilesQuerySchema,
  pathQuerySchema,
  searchFilesSchema,
} from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { clientGone } from '../../client-gone.ts';
import { callerOf } from '../sandbox/requests.ts';
import { type ToolboxRouteDeps, toolboxParams } from './common.ts';
import { sendFileError } from './file-errors.ts';
import { toFileInfo } from './file-info.ts';
import { listing } from './file-listing.ts';

/** On an answer that is not all there is. */
const TRUNCATED = 'x-darkroom-truncated';

/** What is there: list, info, search by name, find by text. */
export function fileLookRoutes({ toolbox }: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.setErrorHandler(sendFileError);
    const schema = { tags: ['toolbox'], params: toolboxParams };

    app.get(
      '/:sandboxId/files',
      {
        exposeHeadRoute: false,
        schema: { ...schema, summary: 'Entries of a directory', querystring: listFilesQuerySchema },
      },
      async (request, reply) => {
        const { path, depth } = request.query;
        const files = await toolbox.enter(callerOf(request.auth), request.params.sandboxId);
        const pieces = await listing(files.list(path, { depth, signal: clientGone(reply) }));
        return reply.type('application/json; charset=utf-8').send(Readable.from(pieces, { objectMode: false }));
      },
    );

    app.get(
      '/:sandboxId/files/info',
      {
        schema: {
          ...schema,
          summary: 'What a path is',
          querystring: pathQuerySchema,
          response: { 200: fileInfoSchema },
        },
      },
      async (request) => {
        const files = await toolbox.enter(callerOf(request.auth), request.params.sandboxId);
        return toFileInfo(await files.stat(request.query.path));
      },
    );

    app.get(
      '/:sandboxId/files/search',
      {
        schema: {
          ...schema,
          summary: 'Files and directories by name (*, ?, [a-z]; with a slash: by path, and ** for any directories)',
          querystring: filePatternQuerySchema,
          response: { 200: searchFilesSchema },
        },
      },
      async (request, reply) => {
        const files = await toolbox.enter(callerOf(request.auth), request.params.sandboxId);
        const { found, truncated } = await files.search(request.query, clientGone(reply));
        if (truncated) reply.header(TRUNCATED, 'true');
        return { files: found.map((path) => path.toWellFormed()) };
      },
    );

    app.get(
      '/:sandboxId/files/find',
      {
        schema: {
          ...schema,
          summary: 'Lines that have a text',
          querystring: filePatternQuerySchema,
          response: { 200: z.array(fileMatchSchema) },
        },
      },
      async (request, reply) => {
        const files = await toolbox.enter(callerOf(request.auth), request.params.sandboxId);
        const { found, truncated } = await files.find(request.query, clientGone(reply));
        if (truncated) reply.header(TRUNCATED, 'true');
        return found.map((match) => ({ ...match, file: match.file.toWellFormed() }));
      },
    );
  };
}
