import {
  ptyCreatedSchema,
  ptyCreateRequestSchema,
  ptyListSchema,
  ptyResizeRequestSchema,
  ptySessionSchema,
} from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { TerminalInfo, Terminals } from '../../../sandboxes/toolbox/terminals/index.ts';
import { requirePermission } from '../../auth-plugin.ts';
import { callerOf } from '../sandbox/requests.ts';
import { toolboxParams } from './common.ts';

export const ptyParams = toolboxParams.extend({ sessionId: z.string() });

/** Terminals as things; `pty-connect.ts` is the use of them. */
export function ptyRoutes({ terminals }: { terminals: Terminals }): FastifyPluginAsyncZod {
  return async (app) => {
    const common = { onRequest: requirePermission('write:sandboxes') };
    const tags = ['toolbox'];
    app.post(
      '/:sandboxId/process/pty',
      {
        ...common,
        schema: {
          summary: 'Create a PTY session',
          tags,
          params: toolboxParams,
          body: ptyCreateRequestSchema,
          response: { 201: ptyCreatedSchema },
        },
      },
      async (request, reply) => {
        const { id, cwd, envs: env, cols, rows, lazyStart } = request.body;
        const asked = { id, cwd, env, cols, rows, lazyStart };
        const session = await terminals.create(callerOf(request.auth), request.params.sandboxId, asked);
        return reply.code(201).send({ sessionId: session.info.id });
      },
    );
    app.get(
      '/:sandboxId/process/pty',
      { schema: { summary: 'List PTY sessions', tags, params: toolboxParams, response: { 200: ptyListSchema } } },
      async (request) => {
        const sessions = await terminals.list(callerOf(request.auth), request.params.sandboxId);
        return { sessions: sessions.map(toPtySession) };
      },
    );
    app.get(
      '/:sandboxId/process/pty/:sessionId',
      { schema: { summary: 'A PTY session', tags, params: ptyParams, response: { 200: ptySessionSchema } } },
      async (request) => {
        const { sandboxId, sessionId } = request.params;
        return toPtySession(await terminals.get(callerOf(request.auth), sandboxId, sessionId));
      },
    );
    app.delete(
      '/:sandboxId/process/pty/:sessionId',
      { ...common, schema: { summary: 'End a PTY session and all its processes', tags, params: ptyParams } },
      async (request) => {
        const { sandboxId, sessionId } = request.params;
        await terminals.remove(callerOf(request.auth), sandboxId, sessionId);
        return { message: 'PTY session deleted' };
      },
    );
    app.post(
      '/:sandboxId/process/pty/:sessionId/resize',
      {
        ...common,
        schema: {
          summary: 'Resize a PTY session',
          tags,
          params: ptyParams,
          body: ptyResizeRequestSchema,
          response: { 200: ptySessionSchema },
        },
      },
      async (request) => {
        const { sandboxId, sessionId } = request.params;
        return toPtySession(await terminals.resize(callerOf(request.auth), sandboxId, sessionId, request.body));
      },
    );
  };
}

function toPtySession({ env, createdAt, ...info }: TerminalInfo) {
  return { ...info, envs: { ...env }, createdAt: createdAt.toISOString() };
}
