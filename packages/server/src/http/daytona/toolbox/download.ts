import { Readable } from 'node:stream';
import { downloadFilesSchema, pathQuerySchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { gathered } from '../../../platform/gathered.ts';
import type { SandboxFiles } from '../../../sandboxes/toolbox/index.ts';
import { callerOf } from '../sandbox/requests.ts';
import { type ToolboxRouteDeps, toolboxParams } from './common.ts';
import { contentDisposition } from './content-disposition.ts';
import { exactly } from './exactly.ts';
import { describeFileError, sendFileError } from './file-errors.ts';

/** Clients look for this one by name. */
const BOUNDARY = 'DAYTONA-FILE-BOUNDARY';
/** Many small files are sent together. */
const ANSWER_SIZE = 64 * 1024;

export function downloadRoutes({ toolbox }: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.setErrorHandler(sendFileError);
    app.get(
      '/:sandboxId/files/download',
      {
        exposeHeadRoute: false,
        config: { signedFiles: true },
        schema: { summary: 'One file', tags: ['toolbox'], params: toolboxParams, querystring: pathQuerySchema },
      },
      async (request, reply) => {
        const { path } = request.query;
        const files = await toolbox.enter(callerOf(request.auth), request.params.sandboxId);
        const { stat, stream } = await files.read(path);
        reply.header(
          'content-disposition',
          contentDisposition('attachment', { filename: path.split('/').at(-1) ?? path }),
        );
        reply.header('content-length', String(stat.size));
        return reply
          .type('application/octet-stream')
          .send(Readable.from(exactly(stream, stat.size), { objectMode: false }));
      },
    );
    app.post(
      '/:sandboxId/files/bulk-download',
      {
        schema: {
          summary: 'Many files in one answer; one that cannot be read is a part that says why',
          tags: ['toolbox'],
          params: toolboxParams,
          body: downloadFilesSchema,
        },
      },
      async (request, reply) => {
        const files = await toolbox.enter(callerOf(request.auth), request.params.sandboxId);
        const describe = (error: unknown) => JSON.stringify(describeFileError(error, request));
        const body = gathered(parts(files, request.body.paths, describe), ANSWER_SIZE);
        return reply
          .type(`multipart/form-data; boundary=${BOUNDARY}`)
          .send(Readable.from(body, { objectMode: false, highWaterMark: 64 * 1024 }));
      },
    );
  };
}

async function* parts(
  files: SandboxFiles,
  paths: readonly string[],
  describe: (error: unknown) => string,
): AsyncGenerator<Buffer> {
  for (const path of paths) {
    const opened = await files.read(path).catch((error: unknown) => ({ error: describe(error) }));
    if ('error' in opened) {
      const content = Buffer.from(opened.error);
      yield Buffer.concat([head('error', path, 'application/json', content.length), content]);
    } else {
      yield head('file', path, 'application/octet-stream', opened.stat.size);
      yield* exactly(opened.stream, opened.stat.size);
    }
    yield Buffer.from('\r\n');
  }
  yield Buffer.from(`--${BOUNDARY}--\r\n`);
}

function head(name: 'file' | 'error', path: string, type: string, length: number): Buffer {
  const lines = [
    `--${BOUNDARY}`,
    `Content-Disposition: ${contentDisposition('form-data', { name, filename: path })}`,
    `Content-Type: ${type}`,
    `Content-Length: ${length}`,
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
}
