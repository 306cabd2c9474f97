import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { ToolboxRouteDeps } from './common.ts';
import { downloadRoutes } from './download.ts';
import { fileChangeRoutes } from './file-changes.ts';
import { fileLookRoutes } from './file-look.ts';
import { gitRoutes } from './git.ts';
import { gitChangeRoutes } from './git-changes.ts';
import { infoRoutes } from './info.ts';
import { interpreterRoutes } from './interpreter.ts';
import { interpreterExecuteRoutes } from './interpreter-execute.ts';
import { metricsRoutes } from './metrics.ts';
import { portRoutes } from './ports.ts';
import { processRoutes } from './process.ts';
import { ptyRoutes } from './pty.ts';
import { ptyConnectRoutes } from './pty-connect.ts';
import { sessionRoutes } from './session.ts';
import { sessionCommandRoutes } from './session-commands.ts';
import { sessionLogRoutes } from './session-logs.ts';
import { unsupportedToolRoutes } from './unsupported.ts';
import { uploadRoutes } from './upload.ts';

export type { ToolboxRouteDeps } from './common.ts';

/** `/toolbox/{sandboxId}…`. */
export function toolboxRoutes(deps: ToolboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    for (const routes of [
      processRoutes,
      infoRoutes,
      portRoutes,
      metricsRoutes,
      downloadRoutes,
      uploadRoutes,
      fileLookRoutes,
      fileChangeRoutes,
      gitRoutes,
      gitChangeRoutes,
    ])
      await app.register(routes(deps));
    for (const routes of [sessionRoutes, sessionCommandRoutes, sessionLogRoutes]) await app.register(routes(deps));
    await app.register(unsupportedToolRoutes());
    for (const routes of [ptyRoutes, ptyConnectRoutes, interpreterRoutes, interpreterExecuteRoutes]) {
      await app.register(routes(deps));
    }
  };
}
