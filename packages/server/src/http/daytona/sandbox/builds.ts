import { buildLogsQuerySchema, buildLogsUrlSchema, buildSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { sendBuildEvents, wantsEvents } from '../build-events.ts';
import { buildDto } from '../build-json.ts';
import { sendBuildLog } from '../build-log-answer.ts';
import { readUntilClose } from '../read-until-close.ts';
import { baseUrl, sandboxParams as params, type SandboxRouteDeps } from './common.ts';
import { callerOf } from './requests.ts';

const tags = ['sandbox'];

/** Builds of sandboxes that are made from an image or a Dockerfile. */
export function sandboxBuildRoutes(deps: SandboxRouteDeps): FastifyPluginAsyncZod {
  const { sandboxes, builds } = deps;
  return async (app) => {
    const read = readUntilClose(app, builds);
    app.get(
      '/sandbox/:sandboxIdOrName/build-logs-url',
      {
        schema: { tags, summary: 'Where the log of the build is read', params, response: { 200: buildLogsUrlSchema } },
      },
      async (request) => {
        const { sandbox_id: id } = await sandboxes.build(callerOf(request.auth), request.params.sandboxIdOrName);
        return { url: `${baseUrl(deps, request)}/api/sandbox/${id}/build-logs` };
      },
    );
    app.get(
      '/sandbox/:sandboxIdOrName/build-logs',
      {
        exposeHeadRoute: false,
        schema: {
          tags,
          summary: 'The log of the build, from its first line',
          params,
          querystring: buildLogsQuerySchema,
        },
      },
      async (request, reply) => {
        const build = await sandboxes.build(callerOf(request.auth), request.params.sandboxIdOrName);
        return sendBuildLog(reply, read, build, request.query);
      },
    );
    app.get(
      '/sandbox/:sandboxIdOrName/build',
      {
        exposeHeadRoute: false,
        schema: {
          tags,
          summary: 'The build with its steps; with Accept: text/event-stream as it changes',
          params,
          response: { 200: buildSchema },
        },
      },
      async (request, reply) => {
        const build = await sandboxes.build(callerOf(request.auth), request.params.sandboxIdOrName);
        if (wantsEvents(request)) return sendBuildEvents(request, reply, read, build);
        return buildDto(await builds.read(build));
      },
    );
  };
}
