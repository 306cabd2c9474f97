import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { ToolboxRouteDeps } from './common.ts';
import { downloadRoutes } from './download.ts';
import { infoRoutes } from './info.ts';
import { processRoutes } from './process.ts';
import { uploadRoutes } from './upload.ts';

export type { ToolboxRouteDeps } from './common.ts';

/** `/toolbox/{sandboxId}…`. */
export function toolboxRoutes(deps: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    for (const routes of [processRoutes, infoRoutes, downloadRoutes, uploadRoutes]) await app.register(routes(deps));
  };
}
