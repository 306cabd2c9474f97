import { sessionLogsQuerySchema } from '@darkroom/contract';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { z } from 'zod';
import type { CommandLogs, FollowableLogs, Sessions } from '../../../sandboxes/toolbox/sessions/index.ts';
import { clientGone } from '../../client-gone.ts';
import { callerOf } from '../sandbox/requests.ts';
import { wantsJsonLogs } from './client-version.ts';
import { type ToolboxRouteDeps, toolboxParams } from './common.ts';
import { sessionCommandParams } from './session-commands.ts';
import { followLogs } from './session-follow.ts';
import { sendPlainLogs, sendSessionLogs } from './session-log-answer.ts';

/** Nothing but the end of the connection tells of the end of a client that follows by an ordinary request. */
const MAX_FOLLOW_MS = 60 * 60_000;

/** Logs as an answer, and the same path as a WebSocket that follows them. */
export function sessionLogRoutes({ sessions }: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    const routes = [
      {
        url: '/:sandboxId/process/session/entrypoint/logs',
        params: toolboxParams,
        find: (request: FastifyRequest) => {
          const { sandboxId } = toolboxParams.parse(request.params);
          return sessions.entrypointLogs(callerOf(request.auth), sandboxId);
        },
      },
      {
        url: '/:sandboxId/process/session/:sessionId/command/:commandId/logs',
        params: sessionCommandParams,
        find: (request: FastifyRequest) => commandLogs(sessions, request, sessionCommandParams.parse(request.params)),
      },
    ];
    for (const { url, params, find } of routes) {
      // Found before a connection is taken over, so that an unknown one is an ordinary 404.
      const found = new WeakMap<FastifyRequest, FollowableLogs>();
      const of = async (request: FastifyRequest) => found.get(request) ?? (await find(request));
      app.route({
        method: 'GET',
        url,
        schema: { summary: 'What a command wrote', tags: ['toolbox'], params, querystring: sessionLogsQuerySchema },
        preHandler: async (request) => void found.set(request, await find(request)),
        handler: async (request, reply) => {
          const logs = await of(request);
          if (request.query.follow === 'true') return sendPlainLogs(reply, followed(logs, reply));
          return wantsJsonLogs(request) ? sendSessionLogs(reply, logs) : sendPlainLogs(reply, logs.read());
        },
        wsHandler: async (socket, request) => followLogs(socket, await of(request)),
      });
    }
  };
}

function commandLogs(
  sessions: Sessions,
  request: FastifyRequest,
  { sandboxId, sessionId, commandId }: z.infer<typeof sessionCommandParams>,
): Promise<FollowableLogs> {
  return sessions.logs(callerOf(request.auth), sandboxId, sessionId, commandId);
}

/** For clients that follow by an ordinary request: both streams as they came. */
async function* followed(logs: CommandLogs & Pick<FollowableLogs, 'beginUse'>, reply: FastifyReply) {
  const endUse = logs.beginUse();
  try {
    const signal = AbortSignal.any([clientGone(reply), AbortSignal.timeout(MAX_FOLLOW_MS)]);
    for await (const { data } of logs.follow(signal)) yield data;
  } finally {
    endUse();
  }
}
