import type { FastifyInstance } from 'fastify';
import fastifyPlugin from 'fastify-plugin';
import type { DiskGuard } from '../../platform/disk-guard.ts';

/** What takes disk, and can be begun later as well. */
const TAKING = new Set([
  'POST /api/snapshots',
  'POST /api/snapshots/:id/activate',
  'POST /api/sandbox',
  'POST /api/sandbox/:sandboxIdOrName/start',
  'POST /api/sandbox/:sandboxIdOrName/snapshot',
  'POST /api/sandbox/:sandboxIdOrName/fork',
  'POST /api/sandbox/:sandboxIdOrName/forks',
  'POST /api/sandbox/:sandboxIdOrName/resize',
  'POST /api/sandbox/:sandboxIdOrName/recover',
]);

/** Refuses new work on a disk that is nearly full, after what is wrong with the request in any case. */
export const roomHook = fastifyPlugin<{ disk: Pick<DiskGuard, 'assertRoom'> }>(
  async (app: FastifyInstance, { disk }) => {
    app.addHook('onRoute', (route) => {
      const methods = Array.isArray(route.method) ? route.method : [route.method];
      if (!methods.some((method) => TAKING.has(`${method} ${route.url}`))) return;
      const before = route.preHandler === undefined ? [] : [route.preHandler].flat();
      route.preHandler = [...before, async () => disk.assertRoom()];
    });
  },
);
