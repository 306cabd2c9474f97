import { type ConfigurationDto, configurationSchema, type RegionDto, regionSchema } from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Config } from '../../platform/config-schema.ts';
import { notFound } from '../../platform/errors.ts';
import { LOCAL_REGION } from '../../tenancy/regions.ts';
import { publicUrlOf } from '../public-url.ts';

export interface ConfigurationRouteDeps {
  version: string;
  /** Undefined where SSH is switched off. */
  ssh?: { command: (token: string) => string; hostKey: { publicKey: string } } | undefined;
  config: Pick<Config, 'publicUrl' | 'defaultSnapshot' | 'rateLimits'>;
}

const MAX_AUTO_ARCHIVE_MINUTES = 43_200;
const WINDOW_MS = 60_000;
/** The one region is as old as this software's first schema; no client does anything with it but show it. */
const REGION_SINCE = '2026-11-22T00:00:00.000Z';

const LOCAL: RegionDto = {
  ...LOCAL_REGION,
  organizationId: null,
  regionType: 'shared',
  createdAt: REGION_SINCE,
  updatedAt: REGION_SINCE,
  proxyUrl: null,
  sshGatewayUrl: null,
  snapshotManagerUrl: null,
};

/** What clients may ask before anything else. */
export function configurationRoutes({ version, config, ssh }: ConfigurationRouteDeps): FastifyPluginAsyncZod {
  const window = (limit: number) => ({ ttl: WINDOW_MS, limit });
  return async (app) => {
    app.get(
      '/config',
      {
        config: { public: true },
        schema: {
          tags: ['config'],
          summary: 'What clients must know of this server',
          security: [],
          response: { 200: configurationSchema },
        },
      },
      async (request): Promise<ConfigurationDto> => {
        const url = publicUrlOf(config.publicUrl, request);
        return {
          version,
          // There is no sign-in: API keys are the only way in.
          oidc: { issuer: '', clientId: '', audience: '' },
          linkedAccountsEnabled: false,
          announcements: {},
          proxyTemplateUrl: `${url}/toolbox/{{sandboxId}}`,
          proxyToolboxUrl: `${url}/toolbox`,
          defaultSnapshot: config.defaultSnapshot,
          dashboardUrl: `${url}/docs`,
          maxAutoArchiveInterval: MAX_AUTO_ARCHIVE_MINUTES,
          maintananceMode: false,
          environment: 'production',
          ...(ssh && {
            sshGatewayCommand: ssh.command('{{TOKEN}}'),
            sshGatewayPublicKey: Buffer.from(ssh.hostKey.publicKey).toString('base64'),
          }),
          rateLimit: {
            failedAuth: window(config.rateLimits.failedAuth),
            authenticated: window(config.rateLimits.authenticated),
            sandboxCreate: window(config.rateLimits.sandboxCreate),
            sandboxLifecycle: window(config.rateLimits.sandboxLifecycle),
          },
        };
      },
    );
    app.get(
      '/shared-regions',
      {
        config: { public: true },
        schema: {
          tags: ['regions'],
          summary: 'Regions; there is one',
          security: [],
          response: { 200: z.array(regionSchema) },
        },
      },
      async () => [LOCAL],
    );
    app.get(
      '/regions',
      { schema: { tags: ['regions'], summary: 'Regions; there is one', response: { 200: z.array(regionSchema) } } },
      async () => [LOCAL],
    );
    app.get(
      '/regions/:id',
      {
        schema: {
          tags: ['regions'],
          summary: 'A region',
          params: z.object({ id: z.string() }),
          response: { 200: regionSchema },
        },
      },
      async ({ params: { id } }) => {
        if (id !== LOCAL.id) throw notFound('Region not found');
        return LOCAL;
      },
    );
  };
}
