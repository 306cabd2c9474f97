import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { sandboxBuildRoutes } from './builds.ts';
import { captureRoutes } from './capture.ts';
import { changeRoutes } from './changes.ts';
import type { SandboxRouteDeps } from './common.ts';
import { createRoute } from './create.ts';
import { forkRoutes } from './fork.ts';
import { lifecycleRoutes } from './lifecycle.ts';
import { previewRoutes } from './preview.ts';
import { readRoutes } from './read.ts';
import { signingKeyRoutes } from './signing-key.ts';
import { sshRoutes } from './ssh.ts';
import { unsupportedRoutes } from './unsupported.ts';

export type { SandboxRouteDeps } from './common.ts';

/** `/api/sandbox…`. */
export function sandboxRoutes(deps: SandboxRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    for (const routes of [
      createRoute,
      captureRoutes,
      forkRoutes,
      readRoutes,
      lifecycleRoutes,
      changeRoutes,
      previewRoutes,
      signingKeyRoutes,
      sshRoutes,
      sandboxBuildRoutes,
      unsupportedRoutes,
    ]) {
      await app.register(routes(deps));
    }
  };
}
