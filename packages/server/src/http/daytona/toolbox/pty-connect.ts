import { ptyConnectQuerySchema } from '@darkroom/contract';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { WebSocket } from 'ws';
import type { TerminalSession, Terminals } from '../../../sandboxes/toolbox/terminals/index.ts';
import { requirePermission } from '../../auth-plugin.ts';
import { callerOf } from '../sandbox/requests.ts';
import { toolboxParams } from './common.ts';
import { ptyParams } from './pty.ts';
import { knowsExitControl, offeredEnvironment, offeredProtocols } from './pty-messages.ts';
import { serveTerminal } from './pty-socket.ts';

/**
 * Terminals over WebSocket. Everything that can be refused is looked at before the upgrade, while there is a status to answer.
 * A client that is gone leaves its terminal as it is: it may come back.
 */
export function ptyConnectRoutes({ terminals }: { terminals: Terminals }): FastifyPluginAsyncZod {
  return async (app) => {
    const ready = new WeakMap<FastifyRequest, TerminalSession>();
    const offered = (request: FastifyRequest) => offeredProtocols(request.headers['sec-websocket-protocol']);
    const serve = (socket: WebSocket, request: FastifyRequest) => {
      const session = ready.get(request);
      if (session === undefined) return socket.terminate();
      serveTerminal(socket, session, knowsExitControl(offered(request)));
    };
    app.get(
      '/:sandboxId/process/pty/:sessionId/connect',
      {
        websocket: true,
        onRequest: requirePermission('write:sandboxes'),
        schema: { params: ptyParams },
        preHandler: async (request) => {
          if (!request.ws) return;
          const { sandboxId, sessionId } = ptyParams.parse(request.params);
          ready.set(request, await terminals.connect(callerOf(request.auth), sandboxId, sessionId));
        },
      },
      serve,
    );
    app.get(
      '/:sandboxId/process/pty/create-connect',
      {
        websocket: true,
        onRequest: requirePermission('write:sandboxes'),
        schema: { params: toolboxParams, querystring: ptyConnectQuerySchema },
        preHandler: async (request) => {
          if (!request.ws) return;
          const { sandboxId } = toolboxParams.parse(request.params);
          const asked = { ...ptyConnectQuerySchema.parse(request.query), env: offeredEnvironment(offered(request)) };
          ready.set(request, await terminals.create(callerOf(request.auth), sandboxId, asked));
        },
      },
      serve,
    );
  };
}
