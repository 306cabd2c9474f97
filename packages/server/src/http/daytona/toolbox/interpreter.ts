import {
  interpreterContextListSchema,
  interpreterContextRequestSchema,
  interpreterContextSchema,
} from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { ContextInfo, Interpreters } from '../../../sandboxes/toolbox/interpreter/index.ts';
import { requirePermission } from '../../auth-plugin.ts';
import { callerOf } from '../sandbox/requests.ts';
import { toolboxParams } from './common.ts';

const contextParams = toolboxParams.extend({ contextId: toolboxParams.shape.sandboxId });

/** Contexts of the stateful interpreter; `interpreter-execute.ts` runs code in them. */
export function interpreterRoutes({ interpreters }: { interpreters: Interpreters }): FastifyPluginAsyncZod {
  return async (app) => {
    const common = { onRequest: requirePermission('write:sandboxes') };
    const tags = ['toolbox'];
    app.post(
      '/:sandboxId/process/interpreter/context',
      {
        ...common,
        schema: {
          summary: 'Create an interpreter context',
          tags,
          params: toolboxParams,
          body: interpreterContextRequestSchema,
          response: { 200: interpreterContextSchema },
        },
      },
      async (request) => {
        const asked = request.body ?? {};
        return toDto(await interpreters.create(callerOf(request.auth), request.params.sandboxId, asked));
      },
    );
    app.get(
      '/:sandboxId/process/interpreter/context',
      {
        schema: {
          summary: 'List interpreter contexts',
          tags,
          params: toolboxParams,
          response: { 200: interpreterContextListSchema },
        },
      },
      async (request) => {
        const contexts = await interpreters.list(callerOf(request.auth), request.params.sandboxId);
        return { contexts: contexts.map(toDto) };
      },
    );
    app.delete(
      '/:sandboxId/process/interpreter/context/:contextId',
      { ...common, schema: { summary: 'End an interpreter context', tags, params: contextParams } },
      async (request) => {
        const { sandboxId, contextId } = request.params;
        await interpreters.remove(callerOf(request.auth), sandboxId, contextId);
        return { message: 'Context deleted' };
      },
    );
  };
}

function toDto({ createdAt, ...info }: ContextInfo) {
  return { ...info, createdAt: createdAt.toISOString() };
}
