import { codeRunRequestSchema, executeRequestSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { requirePermission } from '../../auth-plugin.ts';
import { clientGone } from '../../client-gone.ts';
import { callerOf } from '../sandbox/requests.ts';
import { sendCommandResult } from './command-answer.ts';
import { type ToolboxRouteDeps, toolboxParams } from './common.ts';

/** A program may be long; past this it belongs into a file. */
const BODY_LIMIT = 32 * 1024 * 1024;

export function processRoutes({ toolbox }: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    const common = { bodyLimit: BODY_LIMIT, onRequest: requirePermission('write:sandboxes') };
    app.post(
      '/:sandboxId/process/execute',
      {
        ...common,
        schema: {
          summary: 'Run a shell command to its end',
          tags: ['toolbox'],
          params: toolboxParams,
          body: executeRequestSchema,
        },
      },
      async (request, reply) => {
        const { command, cwd, envs: env, timeout: timeoutSeconds } = request.body;
        const asked = { command, cwd, env, timeoutSeconds };
        const caller = callerOf(request.auth);
        const result = await toolbox.execute(caller, request.params.sandboxId, asked, clientGone(reply));
        return sendCommandResult(reply, result);
      },
    );
    app.post(
      '/:sandboxId/process/code-run',
      {
        ...common,
        schema: {
          summary: 'Run Python, JavaScript or TypeScript code to its end',
          tags: ['toolbox'],
          params: toolboxParams,
          body: codeRunRequestSchema,
        },
      },
      async (request, reply) => {
        const { code, language, argv: args, envs: env, timeout: timeoutSeconds } = request.body;
        const asked = { code, language, args, env, timeoutSeconds };
        const caller = callerOf(request.auth);
        const result = await toolbox.runCode(caller, request.params.sandboxId, asked, clientGone(reply));
        return sendCommandResult(reply, result, { artifacts: { charts: result.charts } });
      },
    );
  };
}
