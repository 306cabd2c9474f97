import { interpreterExecuteSchema } from '@darkroom/contract';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { invalidRequest } from '../../../platform/errors.ts';
import type { Interpreters, RunCode } from '../../../sandboxes/toolbox/interpreter/index.ts';
import { requirePermission } from '../../auth-plugin.ts';
import { errorAnswer } from '../../error-answer.ts';
import { callerOf } from '../sandbox/requests.ts';
import { toolboxParams } from './common.ts';
import { serveRun } from './interpreter-socket.ts';

/** One run of code over one WebSocket. */
export function interpreterExecuteRoutes({ interpreters }: { interpreters: Interpreters }): FastifyPluginAsyncZod {
  return async (app) => {
    const ready = new WeakMap<FastifyRequest, RunCode>();
    app.get(
      '/:sandboxId/process/interpreter/execute',
      {
        websocket: true,
        onRequest: requirePermission('write:sandboxes'),
        schema: { params: toolboxParams },
        preHandler: async (request) => {
          if (!request.ws) return;
          const { sandboxId } = toolboxParams.parse(request.params);
          ready.set(request, await interpreters.enter(callerOf(request.auth), sandboxId));
        },
      },
      (socket, request) => {
        const run = ready.get(request);
        if (run === undefined) return socket.terminate();
        serveRun(socket, {
          async run(text, show, signal) {
            const { timeout: timeoutSeconds, ...asked } = requestOf(text);
            return run({ ...asked, timeoutSeconds }, show, signal);
          },
          describe: (error) => errorAnswer(error, request).message,
        });
      },
    );
  };
}

function requestOf(text: string) {
  const read = interpreterExecuteSchema.safeParse(parseJson(text));
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  throw invalidRequest(`${issue?.path.join('.') ?? ''} ${issue?.message ?? 'The request cannot be read'}`.trim());
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw invalidRequest('The request is not JSON', { cause });
  }
}
