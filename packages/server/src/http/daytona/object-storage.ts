import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { UploadKeys } from '../../tenancy/upload-credentials.ts';
import { requirePermission } from '../auth-plugin.ts';
import { publicUrlOf } from '../public-url.ts';
import { BUCKET, REGION } from '../s3/bucket.ts';

export interface ObjectStorageRouteDeps {
  uploadKeys: UploadKeys;
  config: { publicUrl?: string | undefined };
}

const pushAccessSchema = z
  .object({
    accessKey: z.string(),
    secret: z.string(),
    sessionToken: z.string(),
    storageUrl: z.string(),
    organizationId: z.string(),
    bucket: z.string(),
    region: z.string(),
  })
  .meta({ id: 'StorageAccessDto' });

/** Where clients upload the files of a build, and what they sign that with. */
export function objectStorageRoutes({ uploadKeys, config }: ObjectStorageRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/object-storage/push-access',
      {
        onRequest: requirePermission('write:snapshots', 'write:sandboxes'),
        schema: {
          tags: ['object-storage'],
          summary: 'Where to upload the files of a build, and credentials for it',
          response: { 200: pushAccessSchema },
        },
      },
      async (request, reply) => {
        const { organizationId } = request.auth;
        const { accessKey, secret, sessionToken } = uploadKeys.issue(organizationId);
        // Clients differ in what they do with a path there, so it never has one.
        const storageUrl = new URL(publicUrlOf(config.publicUrl, request)).origin;
        reply.header('cache-control', 'no-store');
        return { accessKey, secret, sessionToken, storageUrl, organizationId, bucket: BUCKET, region: REGION };
      },
    );
  };
}
