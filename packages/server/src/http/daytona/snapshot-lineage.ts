import { lineageQuerySchema, snapshotLineageSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import type { Database } from '../../platform/db/schema.ts';
import { snapshotLineage } from '../../snapshots/lineage.ts';

export function lineageRoutes({ db }: { db: Kysely<Database> }): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/snapshots/:id/lineage',
      {
        schema: {
          summary:
            'Where a snapshot comes from, what was captured from it, and which sandboxes use it (not in Daytona)',
          tags: ['snapshots'],
          params: z.object({ id: z.string() }),
          querystring: lineageQuerySchema,
          response: { 200: snapshotLineageSchema },
        },
      },
      async ({ auth, params, query }) => snapshotLineage(db, auth.organizationId, params.id, query),
    );
  };
}
