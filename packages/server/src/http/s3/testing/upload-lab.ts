import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { S3Client } from '@aws-sdk/client-s3';
import { startTestApi, type TestApi } from '../../../test-support/test-api.ts';

/** What the server gives out for uploads. */
export interface Access {
  accessKey: string;
  secret: string;
  sessionToken: string;
  storageUrl: string;
  organizationId: string;
  bucket: string;
  region: string;
}

export interface UploadLab {
  api: TestApi;
  url: string;
  organizationId: string;
  accessOf(organization: string): Promise<Access>;
  /** What is under way, or was left behind. */
  uploads(): Promise<string[]>;
}

/** A server on a port of the loopback, with an organization. */
export async function openUploadLab(): Promise<UploadLab> {
  const api = await startTestApi();
  await api.app.listen({ host: '127.0.0.1', port: 0 });
  const url = api.app.listeningOrigin;
  return {
    api,
    url,
    organizationId: await api.addOrganization(),
    async accessOf(organization) {
      const apiKey = await api.addKey(organization, { permissions: ['write:snapshots'] });
      const headers = { authorization: `Bearer ${apiKey}` };
      return JSON.parse(await (await fetch(`${url}/api/object-storage/push-access`, { headers })).text());
    },
    uploads: () => readdir(join(api.stateDir, 'contexts', 'uploads')),
  };
}

export const clientOf = (access: Access) =>
  new S3Client({
    endpoint: access.storageUrl,
    region: access.region,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: {
      accessKeyId: access.accessKey,
      secretAccessKey: access.secret,
      sessionToken: access.sessionToken,
    },
  });

export const failureOf = (work: Promise<unknown>) => work.then(() => undefined).catch((error: unknown) => error);
