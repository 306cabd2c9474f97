import {
  clearedCacheSchema,
  collectedSchema,
  collectGarbageSchema,
  gcPlanSchema,
  setGeneralSchema,
  snapshotSchema,
} from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import type { Builds } from '../../builds/index.ts';
import { findBuild } from '../../builds/records.ts';
import type { Garbage } from '../../garbage/garbage.ts';
import type { Database } from '../../platform/db/schema.ts';
import { forbidden } from '../../platform/errors.ts';
import { setGeneral } from '../../snapshots/set-general.ts';
import { snapshotDto } from './snapshot-json.ts';

export interface AdminRouteDeps {
  db: Kysely<Database>;
  garbage: Garbage;
  builds: Pick<Builds, 'clearCache'>;
}

/** What concerns all organizations: for keys of the machine's operator alone. */
export function adminRoutes(deps: AdminRouteDeps): FastifyPluginAsyncZod {
  const { db } = deps;
  return async (app) => {
    app.addHook('onRequest', async ({ auth }) => {
      if (!auth.isAdmin) throw forbidden('Access denied');
    });
    app.patch(
      '/admin/snapshots/:id/general',
      {
        schema: {
          summary: 'Make a snapshot visible to every organization, or take that back',
          tags: ['admin'],
          params: z.object({ id: z.string() }),
          body: setGeneralSchema,
          response: { 200: snapshotSchema },
        },
      },
      async ({ params, body }) => {
        const row = await setGeneral(db, params.id, body.general);
        return snapshotDto(row, row.build_id === null ? undefined : await findBuild(db, row.build_id));
      },
    );
    app.get(
      '/admin/gc',
      {
        schema: {
          summary: 'What garbage collection would take, and why; nothing is taken',
          tags: ['admin'],
          response: { 200: gcPlanSchema },
        },
      },
      async () => ({ items: await deps.garbage.plan() }),
    );
    app.post(
      '/admin/gc',
      {
        schema: {
          summary: 'Collect garbage now: takes what the plan says goes with the next sweep',
          tags: ['admin'],
          body: collectGarbageSchema.nullish(),
          response: { 200: collectedSchema },
        },
      },
      async ({ body }) => deps.garbage.collect({ withoutGrace: body?.withoutGrace ?? false }),
    );
    app.delete(
      '/admin/build-cache',
      {
        schema: {
          summary: 'Forget results of build steps and base images; their layers go with the sweeps that follow',
          tags: ['admin'],
          querystring: z.object({ organizationId: z.uuid().optional() }),
          response: { 200: clearedCacheSchema },
        },
      },
      async ({ query }) => ({ removed: await deps.builds.clearCache(query.organizationId) }),
    );
    app.get(
      '/admin/snapshots/can-cleanup-image',
      {
        schema: {
          summary: 'Whether no snapshot needs this image any more',
          tags: ['admin'],
          querystring: z.object({ imageName: z.string().min(1) }),
          response: { 200: z.boolean() },
        },
      },
      async ({ query }) => {
        const row = await db
          .selectFrom('snapshots')
          .select('id')
          .where('image_name', '=', query.imageName.replaceAll('\0', ''))
          .where('state', 'not in', ['removing', 'error', 'build_failed'])
          .limit(1)
          .executeTakeFirst();
        return row === undefined;
      },
    );
  };
}
