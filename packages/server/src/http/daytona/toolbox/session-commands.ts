import { sessionCommandSchema, sessionExecuteRequestSchema, sessionInputRequestSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { requirePermission } from '../../auth-plugin.ts';
import { clientGone } from '../../client-gone.ts';
import { callerOf } from '../sandbox/requests.ts';
import type { ToolboxRouteDeps } from './common.ts';
import { sessionParams } from './session.ts';
import { sendSessionLogs } from './session-log-answer.ts';

export const sessionCommandParams = sessionParams.extend({ commandId: z.string() });

export function sessionCommandRoutes({ sessions }: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    const tags = ['toolbox'];
    const write = { onRequest: requirePermission('write:sandboxes') };
    app.post(
      '/:sandboxId/process/session/:sessionId/exec',
      {
        ...write,
        schema: { summary: 'Run a command', tags, params: sessionParams, body: sessionExecuteRequestSchema },
      },
      async (request, reply) => {
        const { sandboxId, sessionId } = request.params;
        const { command, runAsync, async } = request.body;
        const asked = { command, isAsync: runAsync === true || async === true };
        const caller = callerOf(request.auth);
        const { id, result } = await sessions.execute(caller, sandboxId, sessionId, asked, clientGone(reply));
        if (result === undefined) return reply.code(202).send({ cmdId: id });
        return sendSessionLogs(reply, result.logs, { cmdId: id, exitCode: result.exitCode });
      },
    );
    app.get(
      '/:sandboxId/process/session/:sessionId/command/:commandId',
      {
        schema: { summary: 'A command', tags, params: sessionCommandParams, response: { 200: sessionCommandSchema } },
      },
      async (request) => {
        const { sandboxId, sessionId, commandId } = request.params;
        return sessions.command(callerOf(request.auth), sandboxId, sessionId, commandId);
      },
    );
    app.post(
      '/:sandboxId/process/session/:sessionId/command/:commandId/input',
      {
        ...write,
        schema: {
          summary: 'Send a line to a running command',
          tags,
          params: sessionCommandParams,
          body: sessionInputRequestSchema,
        },
      },
      async (request, reply) => {
        const { sandboxId, ...at } = request.params;
        const caller = callerOf(request.auth);
        await sessions.input(caller, { sandbox: sandboxId, ...at }, request.body.data, clientGone(reply));
        return reply.code(204).send();
      },
    );
  };
}
