import { pathQuerySchema } from '@darkroom/contract';
import multipart from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { invalidRequest } from '../../../platform/errors.ts';
import type { SandboxFiles } from '../../../sandboxes/toolbox/index.ts';
import { requirePermission } from '../../auth-plugin.ts';
import { callerOf } from '../sandbox/requests.ts';
import { type ToolboxRouteDeps, toolboxParams } from './common.ts';
import { sendFileError } from './file-errors.ts';
import { PairedUploads } from './paired-uploads.ts';
import { writeOrDrain } from './write-or-drain.ts';

const MAX_FILES = 10_000;
const LIMITS = { fileSize: Number.POSITIVE_INFINITY, files: MAX_FILES, fields: MAX_FILES, parts: 2 * MAX_FILES };

/** Parts go straight into the sandbox as they come; a file of any size takes no memory and no disk of the server. */
export function uploadRoutes({ toolbox, spoolDirectory }: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    await app.register(multipart, { limits: LIMITS, throwFileSizeLimit: false });
    app.setErrorHandler((error, request, reply) => sendFileError(brokenOff(request, error), request, reply));
    app.addHook('onRequest', requirePermission('write:sandboxes'));
    // A form that was given up in the middle: what is left of it must not stand before the next request of the connection.
    app.addHook('onResponse', async ({ raw }) => {
      if (raw.readableEnded) return;
      raw.unpipe();
      raw.resume();
    });
    const schema = { tags: ['toolbox'], params: toolboxParams };

    app.post(
      '/:sandboxId/files/bulk-upload',
      { schema: { ...schema, summary: 'Many files: files[N].path and files[N].file, in any order' } },
      async (request, reply) => {
        const files = await enter(request, request.params.sandboxId);
        await using uploads = new PairedUploads(files, spoolDirectory);
        for await (const part of request.parts()) {
          if (part.type === 'file') await uploads.file(part.fieldname, part.file);
          else await uploads.field(part.fieldname, String(part.value));
        }
        const errors = await uploads.finish();
        if (errors.length > 0)
          return reply
            .code(400)
            .type('application/json')
            .send({ errors, message: errors.join(', ') });
        return reply.send();
      },
    );

    for (const path of ['/:sandboxId/files/upload', '/:sandboxId/files/upload-v2']) {
      app.post(
        path,
        { config: { signedFiles: true }, schema: { ...schema, summary: 'One file', querystring: pathQuerySchema } },
        async (request, reply) => {
          const files = await enter(request, request.params.sandboxId);
          await writeFirst(files, request.query.path, request);
          return reply.send();
        },
      );
    }

    function enter(request: FastifyRequest, sandboxId: string): Promise<SandboxFiles> {
      if (!request.isMultipart()) throw invalidRequest('The body must be multipart/form-data');
      return toolbox.enter(callerOf(request.auth), sandboxId);
    }
  };
}

/** A client that goes away in the middle is no failure of the server; nobody reads the answer. */
function brokenOff(request: FastifyRequest, error: unknown): unknown {
  if (!request.raw.destroyed || request.raw.complete) return error;
  return invalidRequest('the upload was broken off', { cause: error });
}

async function writeFirst(files: SandboxFiles, path: string, request: FastifyRequest): Promise<void> {
  let written = false;
  for await (const part of request.parts()) {
    if (part.type !== 'file') continue;
    if (written) {
      part.file.resume();
      continue;
    }
    await writeOrDrain(files, path, part.file);
    written = true;
  }
  if (!written) throw invalidRequest('The form has no file');
}
