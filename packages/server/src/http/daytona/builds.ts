import { buildLogsQuerySchema, buildLogsUrlSchema, buildSchema, snapshotSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import type { Builds } from '../../builds/index.ts';
import { type BuildRow, findBuild } from '../../builds/records.ts';
import type { SnapshotRow } from '../../lifecycle/move.ts';
import type { Database } from '../../platform/db/schema.ts';
import { notFound } from '../../platform/errors.ts';
import { cancelBuild } from '../../snapshots/cancel-build.ts';
import { getOwnSnapshot } from '../../snapshots/find.ts';
import { requirePermission } from '../auth-plugin.ts';
import { publicUrlOf } from '../public-url.ts';
import { sendBuildEvents, wantsEvents } from './build-events.ts';
import { buildDto } from './build-json.ts';
import { sendBuildLog } from './build-log-answer.ts';
import { readUntilClose } from './read-until-close.ts';
import { snapshotDto } from './snapshot-json.ts';

export interface BuildRouteDeps {
  db: Kysely<Database>;
  builds: Builds;
  config: { publicUrl?: string | undefined };
}

const params = z.object({ id: z.string() });
const tags = ['snapshots'];

/** Builds of snapshots. */
export function buildRoutes({ db, builds, config }: BuildRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    const read = readUntilClose(app, builds);
    app.get(
      '/snapshots/:id/build-logs-url',
      {
        schema: {
          tags,
          summary: 'Where the log of the build is read; ?follow=true may be added',
          params,
          response: { 200: buildLogsUrlSchema },
        },
      },
      async (request) => {
        const { row } = await getBuild(db, request.auth.organizationId, request.params.id);
        // Without a query of its own: clients add theirs.
        return { url: `${publicUrlOf(config.publicUrl, request)}/api/snapshots/${row.id}/build-logs` };
      },
    );
    app.get(
      '/snapshots/:id/build-logs',
      {
        // Its body may take as long as a build.
        exposeHeadRoute: false,
        schema: {
          tags,
          summary: 'The log of the build, from its first line',
          params,
          querystring: buildLogsQuerySchema,
        },
      },
      async ({ auth, params: { id }, query }, reply) => {
        const { row, build } = await findBuildOf(db, auth.organizationId, id);
        // What an active snapshot that was not built answers in Daytona.
        if (build === undefined && row.state === 'active') return reply.type('application/octet-stream').send('');
        if (build === undefined) throw noBuild(row);
        return sendBuildLog(reply, read, build, query);
      },
    );
    app.get(
      '/snapshots/:id/build',
      {
        // Its body may take as long as a build.
        exposeHeadRoute: false,
        schema: {
          tags,
          summary: 'The build with its steps; with Accept: text/event-stream as it changes',
          params,
          response: { 200: buildSchema },
        },
      },
      async (request, reply) => {
        const { build } = await getBuild(db, request.auth.organizationId, request.params.id);
        if (wantsEvents(request)) return sendBuildEvents(request, reply, read, build);
        return buildDto(await builds.read(build));
      },
    );
    app.post(
      '/snapshots/:id/cancel',
      {
        onRequest: requirePermission('write:snapshots'),
        schema: { tags, summary: 'Cancel the build of a snapshot', params, response: { 200: snapshotSchema } },
      },
      async ({ auth, params: { id } }) => {
        const row = await cancelBuild(db, auth, id);
        return snapshotDto(row, row.build_id === null ? undefined : await findBuild(db, row.build_id));
      },
    );
  };
}

async function getBuild(
  db: Kysely<Database>,
  organizationId: string,
  idOrName: string,
): Promise<{ row: SnapshotRow; build: BuildRow }> {
  const { row, build } = await findBuildOf(db, organizationId, idOrName);
  if (build === undefined) throw noBuild(row);
  return { row, build };
}

async function findBuildOf(db: Kysely<Database>, organizationId: string, idOrName: string) {
  const row = await getOwnSnapshot(db, organizationId, idOrName);
  return { row, build: row.build_id === null ? undefined : await findBuild(db, row.build_id) };
}

const noBuild = ({ id }: SnapshotRow) => notFound(`Snapshot ${id} has no build info`);
