import {
  createSnapshotSchema,
  listSnapshotsQuerySchema,
  snapshotPageSchema,
  snapshotSchema,
  updateSnapshotSchema,
} from '@darkroom/contract';
import type { FastifyReply } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Builds } from '../../builds/index.ts';
import { findBuild } from '../../builds/records.ts';
import { type ActivateDeps, activateSnapshot } from '../../snapshots/activate.ts';
import { type CreateDeps, createSnapshot } from '../../snapshots/create.ts';
import { deactivateSnapshot } from '../../snapshots/deactivate.ts';
import { deleteSnapshot } from '../../snapshots/delete.ts';
import type { SnapshotReads } from '../../snapshots/read.ts';
import { setRetention } from '../../snapshots/set-retention.ts';
import { requirePermission } from '../auth-plugin.ts';
import { type BuildRouteDeps, buildRoutes } from './builds.ts';
import { snapshotDto } from './snapshot-json.ts';
import { lineageRoutes } from './snapshot-lineage.ts';
import { snapshotQuery, snapshotRequest } from './snapshot-requests.ts';

export interface SnapshotRouteDeps extends ActivateDeps, CreateDeps, BuildRouteDeps {
  builds: Builds;
  reads: SnapshotReads;
}

const idParams = z.object({ id: z.string() });
const tags = ['snapshots'];

export function snapshotRoutes(deps: SnapshotRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.post(
      '/snapshots',
      {
        onRequest: requirePermission('write:snapshots'),
        schema: {
          summary: 'Create a snapshot; it is pulled or built in the background',
          tags,
          body: createSnapshotSchema,
          response: { 200: snapshotSchema },
        },
      },
      async ({ auth, body }) => {
        const { row, build } = await createSnapshot(deps, auth, snapshotRequest(body));
        return snapshotDto(row, build);
      },
    );
    app.get(
      '/snapshots',
      {
        schema: {
          summary: 'List own and general snapshots',
          tags,
          querystring: listSnapshotsQuerySchema,
          response: { 200: snapshotPageSchema },
        },
      },
      async ({ auth, query }, reply) => {
        const { page, limit } = query;
        const { items, total } = await deps.reads.list(auth.organizationId, snapshotQuery(query));
        const totalPages = Math.ceil(total / limit);
        return sendJson(reply, `{"items":${items},"total":${total},"page":${page},"totalPages":${totalPages}}`);
      },
    );
    app.get(
      '/snapshots/:id',
      {
        schema: {
          summary: 'Get a snapshot by its name or id',
          tags,
          params: idParams,
          response: { 200: snapshotSchema },
        },
      },
      async ({ auth, params }, reply) => sendJson(reply, await deps.reads.get(auth.organizationId, params.id)),
    );
    await app.register(changeRoutes(deps));
    await app.register(buildRoutes(deps));
    await app.register(lineageRoutes(deps));
  };
}

function changeRoutes(deps: SnapshotRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.delete(
      '/snapshots/:id',
      {
        onRequest: requirePermission('delete:snapshots'),
        schema: {
          summary: 'Delete a snapshot by its id or name; the name is free at once',
          tags,
          params: idParams,
          response: { 200: z.undefined() },
        },
      },
      async ({ auth, params }, reply) => {
        await deleteSnapshot(deps, auth, params.id);
        return reply.code(200).send();
      },
    );
    app.patch(
      '/snapshots/:id',
      {
        onRequest: requirePermission('delete:snapshots'),
        schema: {
          summary: 'Say how long a snapshot stays: lock it, or let it expire',
          tags,
          params: idParams,
          body: updateSnapshotSchema,
          response: { 200: snapshotSchema },
        },
      },
      async ({ auth, params, body }) => {
        const { expiresAt, ...lock } = body;
        const row = await setRetention(deps.db, auth.organizationId, params.id, {
          ...lock,
          expiresAt: expiresAt == null ? expiresAt : new Date(expiresAt),
        });
        return snapshotDto(row, row.build_id === null ? undefined : await findBuild(deps.db, row.build_id));
      },
    );
    app.post(
      '/snapshots/:id/activate',
      {
        onRequest: requirePermission('write:snapshots'),
        schema: {
          summary: 'Activate an inactive snapshot',
          tags,
          params: idParams,
          response: { 200: snapshotSchema },
        },
      },
      async ({ auth, params }) => {
        const row = await activateSnapshot(deps, auth, params.id);
        return snapshotDto(row, row.build_id === null ? undefined : await findBuild(deps.db, row.build_id));
      },
    );
    app.post(
      '/snapshots/:id/deactivate',
      {
        onRequest: requirePermission('write:snapshots'),
        schema: {
          summary: 'Deactivate a snapshot',
          tags,
          params: idParams,
          response: { 204: z.undefined() },
        },
      },
      async ({ auth, params }, reply) => {
        await deactivateSnapshot(deps.db, auth, params.id);
        return reply.code(204).send();
      },
    );
  };
}

function sendJson(reply: FastifyReply, text: string): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(text);
}
