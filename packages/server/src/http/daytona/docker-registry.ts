import {
  createDockerRegistrySchema,
  type DockerRegistryDto,
  dockerRegistrySchema,
  updateDockerRegistrySchema,
} from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { DarkroomError, invalidRequest } from '../../platform/errors.ts';
import {
  createRegistry,
  deleteRegistry,
  getRegistry,
  listRegistries,
  type RegistryDeps,
  type RegistryRow,
  updateRegistry,
} from '../../tenancy/registries.ts';
import { requirePermission } from '../auth-plugin.ts';

const params = z.object({ id: z.string() });
const tags = ['docker-registry'];

/** Private registries of an organization. Their passwords go in and never come out. */
export function dockerRegistryRoutes(deps: RegistryDeps): FastifyPluginAsyncZod {
  return async (app) => {
    // Before `/:id`, which would take its name for an id.
    app.get(
      '/docker-registry/registry-push-access',
      {
        onRequest: requirePermission('write:snapshots', 'write:sandboxes'),
        schema: { tags, summary: 'Where to push images to (refused: there is no such registry)' },
      },
      async () => {
        throw new DarkroomError('unavailable', 'This server has no registry of its own to push to.', {
          hint: 'Push the image to a registry that the server can reach and create the snapshot from its name.',
        });
      },
    );
    app.post(
      '/docker-registry',
      {
        onRequest: requirePermission('write:registries'),
        schema: {
          tags,
          summary: 'Store the credentials of a private registry',
          body: createDockerRegistrySchema,
          response: { 201: dockerRegistrySchema },
        },
      },
      async ({ auth, body }, reply) => {
        if (body.registryType != null && body.registryType !== 'organization') {
          throw invalidRequest('registryType must be organization');
        }
        const { name, url, username, password } = body;
        const wanted = { name, url, username, password, project: body.project ?? undefined };
        return reply.code(201).send(registryDto(await createRegistry(deps, auth.organizationId, wanted)));
      },
    );
    app.get(
      '/docker-registry',
      {
        schema: {
          tags,
          summary: 'List registries, without passwords',
          response: { 200: z.array(dockerRegistrySchema) },
        },
      },
      async ({ auth }) => (await listRegistries(deps.db, auth.organizationId)).map(registryDto),
    );
    app.get(
      '/docker-registry/:id',
      {
        schema: { tags, summary: 'A registry, without its password', params, response: { 200: dockerRegistrySchema } },
      },
      async ({ auth, params: { id } }) => registryDto(await getRegistry(deps.db, auth.organizationId, id)),
    );
    app.patch(
      '/docker-registry/:id',
      {
        onRequest: requirePermission('write:registries'),
        schema: {
          tags,
          summary: 'Change a registry',
          params,
          body: updateDockerRegistrySchema,
          response: { 200: dockerRegistrySchema },
        },
      },
      async ({ auth, params: { id }, body }) => {
        const given = Object.fromEntries(Object.entries(body).filter(([, value]) => value != null));
        return registryDto(await updateRegistry(deps, auth.organizationId, id, given));
      },
    );
    app.delete(
      '/docker-registry/:id',
      {
        onRequest: requirePermission('delete:registries'),
        schema: { tags, summary: 'Forget a registry and its credentials', params, response: { 204: z.undefined() } },
      },
      async ({ auth, params: { id } }, reply) => {
        await deleteRegistry(deps.db, auth.organizationId, id);
        return reply.code(204).send();
      },
    );
  };
}

function registryDto(row: RegistryRow): DockerRegistryDto {
  return {
    id: row.id,
    name: row.name,
    url: row.url,
    username: row.username,
    project: row.project,
    registryType: 'organization',
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
  };
}
