import {
  type OrganizationDto,
  type OrganizationUsageDto,
  organizationSchema,
  organizationUsageSchema,
  updateOrganizationSchema,
} from '@darkroom/contract';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import type { Config } from '../../platform/config-schema.ts';
import type { Database } from '../../platform/db/schema.ts';
import { notFound } from '../../platform/errors.ts';
import { countSnapshots } from '../../snapshots/quota.ts';
import type { AuthContext } from '../../tenancy/auth-context.ts';
import { getOrganization, type OrganizationRow, updateOrganization } from '../../tenancy/organizations.ts';
import { sandboxUsage } from '../../tenancy/usage.ts';
import { requirePermission } from '../auth-plugin.ts';

export interface OrganizationRouteDeps {
  db: Kysely<Database>;
  rateLimits: Config['rateLimits'];
}

const params = z.object({ id: z.string() });
const tags = ['organizations'];
const WINDOW_SECONDS = 60;

/** The organization that the key belongs to; of others nothing can be learned. */
export function organizationRoutes(deps: OrganizationRouteDeps): FastifyPluginAsyncZod {
  return async (app) => {
    app.get(
      '/organizations',
      {
        schema: {
          tags,
          summary: 'The organization of this key, as a list',
          response: { 200: z.array(organizationSchema) },
        },
      },
      async ({ auth }) => [await describe(deps, auth)],
    );
    app.get(
      '/organizations/:id',
      { schema: { tags, summary: 'An organization and its limits', params, response: { 200: organizationSchema } } },
      async ({ auth, params: { id } }) => {
        assertOwn(auth, id);
        return describe(deps, auth);
      },
    );
    app.patch(
      '/organizations/:id',
      {
        onRequest: requirePermission('write:snapshots'),
        schema: {
          tags,
          summary: 'When unused snapshots become inactive, and what happens when such a one is used',
          params,
          body: updateOrganizationSchema,
          response: { 200: organizationSchema },
        },
      },
      async ({ auth, params: { id }, body }) => {
        assertOwn(auth, id);
        await updateOrganization(deps.db, auth.organizationId, {
          deactivationMinutes: body.snapshotDeactivationTimeoutMinutes,
          activatesOnUse: body.activateSnapshotsOnUse,
        });
        return describe(deps, auth);
      },
    );
    app.get(
      '/organizations/:id/usage',
      { schema: { tags, summary: 'What is used of the limits', params, response: { 200: organizationUsageSchema } } },
      async ({ auth, params: { id } }) => {
        assertOwn(auth, id);
        return usage(deps.db, await getOrganization(deps.db, auth.organizationId));
      },
    );
  };
}

function assertOwn(auth: AuthContext, id: string): void {
  if (id.toLowerCase() !== auth.organizationId) throw notFound(`Organization with ID ${id} not found`);
}

async function describe({ db, rateLimits }: OrganizationRouteDeps, auth: AuthContext): Promise<OrganizationDto> {
  const row = await getOrganization(db, auth.organizationId);
  return {
    id: row.id,
    name: row.name,
    createdBy: auth.userId,
    personal: false,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    suspended: row.suspended_at !== null,
    suspendedAt: row.suspended_at?.toISOString() ?? null,
    suspensionReason: row.suspension_reason,
    suspendedUntil: null,
    suspensionCleanupGracePeriodHours: 0,
    maxCpuPerSandbox: row.max_cpu_per_sandbox,
    maxMemoryPerSandbox: row.max_memory_per_sandbox,
    maxDiskPerSandbox: row.max_disk_per_sandbox,
    secretQuota: 0,
    maxSecretsPerSandbox: 0,
    snapshotDeactivationTimeoutMinutes: row.snapshot_deactivation_timeout_minutes,
    activateSnapshotsOnUse: row.activates_on_use,
    sandboxLimitedNetworkEgress: false,
    previewWarningEnabled: false,
    ssoEnabled: false,
    defaultRegionId: row.default_region,
    authenticatedRateLimit: rateLimits.authenticated,
    sandboxCreateRateLimit: rateLimits.sandboxCreate,
    sandboxLifecycleRateLimit: rateLimits.sandboxLifecycle,
    authenticatedRateLimitTtlSeconds: WINDOW_SECONDS,
    sandboxCreateRateLimitTtlSeconds: WINDOW_SECONDS,
    sandboxLifecycleRateLimitTtlSeconds: WINDOW_SECONDS,
    experimentalConfig: {},
    otelConfig: null,
  };
}

async function usage(db: Kysely<Database>, row: OrganizationRow): Promise<OrganizationUsageDto> {
  const [used, snapshots] = await Promise.all([sandboxUsage(db, row.id), countSnapshots(db, row.id)]);
  return {
    regionUsage: [
      {
        regionId: row.default_region,
        sandboxClass: 'container',
        totalCpuQuota: row.total_cpu_quota,
        currentCpuUsage: used.cpu,
        totalMemoryQuota: row.total_memory_quota,
        currentMemoryUsage: used.memory,
        totalDiskQuota: row.total_disk_quota,
        currentDiskUsage: used.disk,
        totalGpuQuota: 0,
        currentGpuUsage: 0,
        maxCpuPerSandbox: row.max_cpu_per_sandbox,
        maxMemoryPerSandbox: row.max_memory_per_sandbox,
        maxDiskPerSandbox: row.max_disk_per_sandbox,
        maxDiskPerNonEphemeralSandbox: null,
        maxCpuPerGpu: null,
        maxMemoryPerGpu: null,
        maxDiskPerGpu: null,
      },
    ],
    totalSnapshotQuota: row.snapshot_quota,
    currentSnapshotUsage: snapshots,
    totalVolumeQuota: 0,
    currentVolumeUsage: 0,
  };
}
