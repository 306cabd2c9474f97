import { createSessionRequestSchema, type SessionDto, sessionSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { SessionInfo } from '../../../sandboxes/toolbox/sessions/index.ts';
import { requirePermission } from '../../auth-plugin.ts';
import { callerOf } from '../sandbox/requests.ts';
import { type ToolboxRouteDeps, toolboxParams } from './common.ts';

export const sessionParams = toolboxParams.extend({ sessionId: z.string() });

export function sessionRoutes({ sessions }: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    const tags = ['toolbox'];
    const write = { onRequest: requirePermission('write:sandboxes') };
    app.post(
      '/:sandboxId/process/session',
      {
        ...write,
        schema: { summary: 'Start a session', tags, params: toolboxParams, body: createSessionRequestSchema },
      },
      async (request, reply) => {
        await sessions.create(callerOf(request.auth), request.params.sandboxId, request.body.sessionId);
        return reply.code(201).send();
      },
    );
    app.get(
      '/:sandboxId/process/session',
      { schema: { summary: 'Sessions', tags, params: toolboxParams, response: { 200: z.array(sessionSchema) } } },
      async (request) => {
        const found = await sessions.list(callerOf(request.auth), request.params.sandboxId);
        return found.map(sessionDto);
      },
    );
    app.get(
      '/:sandboxId/process/session/entrypoint',
      { schema: { summary: 'The entry point', tags, params: toolboxParams, response: { 200: sessionSchema } } },
      async (request) => sessionDto(await sessions.entrypoint(callerOf(request.auth), request.params.sandboxId)),
    );
    app.get(
      '/:sandboxId/process/session/:sessionId',
      { schema: { summary: 'A session', tags, params: sessionParams, response: { 200: sessionSchema } } },
      async (request) => {
        const { sandboxId, sessionId } = request.params;
        return sessionDto(await sessions.get(callerOf(request.auth), sandboxId, sessionId));
      },
    );
    app.delete(
      '/:sandboxId/process/session/:sessionId',
      { ...write, schema: { summary: 'End a session and all that it started', tags, params: sessionParams } },
      async (request, reply) => {
        const { sandboxId, sessionId } = request.params;
        await sessions.remove(callerOf(request.auth), sandboxId, sessionId);
        return reply.code(204).send();
      },
    );
  };
}

function sessionDto({ sessionId, commands }: SessionInfo): SessionDto {
  return { sessionId, commands };
}
