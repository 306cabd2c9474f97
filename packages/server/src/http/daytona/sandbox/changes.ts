import { networkSettingsSchema, sandboxLabelsSchema, sandboxSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Caller, SandboxRow } from '../../../sandboxes/index.ts';
import { requirePermission } from '../../auth-plugin.ts';
import { baseUrl, type SandboxRouteDeps, sandboxParams } from './common.ts';
import { toSandboxDto } from './dto.ts';
import { callerOf } from './requests.ts';

const response = { 200: sandboxSchema };
const intervalParams = sandboxParams.extend({ interval: z.coerce.number() });

/** What is set without a change of state. */
export function changeRoutes(deps: SandboxRouteDeps): FastifyPluginAsyncZod {
  const { sandboxes } = deps;
  return async (app) => {
    app.addHook('onRequest', requirePermission('write:sandboxes'));
    const common = { tags: ['sandbox'], params: sandboxParams };
    const intervals: [string, (caller: Caller, id: string, minutes: number) => Promise<SandboxRow>][] = [
      ['autostop', sandboxes.setAutoStop],
      ['autoarchive', sandboxes.setAutoArchive],
      ['autodelete', sandboxes.setAutoDelete],
    ];
    for (const [name, set] of intervals) {
      app.post(
        `/sandbox/:sandboxIdOrName/${name}/:interval`,
        { schema: { ...common, summary: `Set the ${name} interval in minutes`, params: intervalParams, response } },
        async (request) => {
          const { sandboxIdOrName, interval } = request.params;
          return toSandboxDto(await set(callerOf(request.auth), sandboxIdOrName, interval), baseUrl(deps, request));
        },
      );
    }
    app.put(
      '/sandbox/:sandboxIdOrName/labels',
      {
        schema: {
          ...common,
          summary: 'Replace the labels',
          body: sandboxLabelsSchema,
          response: { 200: sandboxLabelsSchema },
        },
      },
      async (request) => {
        const { sandboxIdOrName } = request.params;
        const row = await sandboxes.replaceLabels(callerOf(request.auth), sandboxIdOrName, request.body.labels);
        return { labels: row.labels };
      },
    );
    app.post(
      '/sandbox/:sandboxIdOrName/public/:isPublic',
      {
        schema: {
          ...common,
          summary: 'Set whether previews need no key',
          params: sandboxParams.extend({ isPublic: z.enum(['true', 'false']) }),
          response,
        },
      },
      async (request) => {
        const { sandboxIdOrName, isPublic } = request.params;
        const row = await sandboxes.setPublic(callerOf(request.auth), sandboxIdOrName, isPublic === 'true');
        return toSandboxDto(row, baseUrl(deps, request));
      },
    );
    app.post(
      '/sandbox/:sandboxIdOrName/network-settings',
      {
        schema: {
          ...common,
          summary: 'Set what the sandbox may reach, also while it runs',
          body: networkSettingsSchema,
          response,
        },
      },
      async (request) => {
        const row = await sandboxes.setNetwork(callerOf(request.auth), request.params.sandboxIdOrName, request.body);
        return toSandboxDto(row, baseUrl(deps, request));
      },
    );
    app.post(
      '/sandbox/:sandboxIdOrName/last-activity',
      { schema: { ...common, summary: 'Note that the sandbox is in use', response: { 201: z.void() } } },
      async (request, reply) => {
        await sandboxes.noteActivity(callerOf(request.auth), request.params.sandboxIdOrName);
        return reply.code(201).send();
      },
    );
  };
}
