import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { DarkroomError } from '../../platform/errors.ts';
import { requirePermission } from '../auth-plugin.ts';

/** Where clients would upload the files of a build. */
export function objectStorageRoutes(): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/object-storage/push-access',
      {
        onRequest: requirePermission('write:snapshots', 'write:sandboxes'),
        schema: { tags: ['object-storage'], summary: 'Where to upload the files of a build (refused: no builds yet)' },
      },
      async () => {
        throw new DarkroomError('unavailable', 'Object storage is not configured');
      },
    );
  };
}
