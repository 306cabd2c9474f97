import { portInUseSchema, portListSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { callerOf } from '../sandbox/requests.ts';
import { type ToolboxRouteDeps, toolboxParams } from './common.ts';

const port = z.coerce.number().int('Invalid port').min(1, 'Invalid port').max(65_535, 'Invalid port');

/** What could be previewed. */
export function portRoutes({ toolbox }: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/:sandboxId/port',
      {
        schema: {
          summary: 'Ports that something listens on',
          tags: ['toolbox'],
          params: toolboxParams,
          response: { 200: portListSchema },
        },
      },
      async (request) => ({ ports: await toolbox.ports(callerOf(request.auth), request.params.sandboxId) }),
    );
    app.get(
      '/:sandboxId/port/:port/in-use',
      {
        schema: {
          summary: 'Whether something listens on a port',
          tags: ['toolbox'],
          params: toolboxParams.extend({ port }),
          response: { 200: portInUseSchema },
        },
      },
      async (request) => {
        const ports = await toolbox.ports(callerOf(request.auth), request.params.sandboxId);
        return { isInUse: ports.includes(request.params.port) };
      },
    );
  };
}
