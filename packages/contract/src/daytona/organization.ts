import { z } from 'zod';

const nullableNumber = z.number().nullable();

export const organizationSchema = z
  .object({
    id: z.uuid(),
    name: z.string(),
    createdBy: z.string(),
    personal: z.boolean(),
    createdAt: z.iso.datetime(),
    updatedAt: z.iso.datetime(),
    suspended: z.boolean(),
    suspendedAt: z.iso.datetime().nullable(),
    suspensionReason: z.string().nullable(),
    suspendedUntil: z.iso.datetime().nullable(),
    suspensionCleanupGracePeriodHours: z.number(),
    maxCpuPerSandbox: z.number(),
    maxMemoryPerSandbox: z.number(),
    maxDiskPerSandbox: z.number(),
    secretQuota: z.number(),
    maxSecretsPerSandbox: z.number(),
    snapshotDeactivationTimeoutMinutes: z.number(),
    /** Ours: a sandbox of an inactive snapshot activates it. */
    activateSnapshotsOnUse: z.boolean().optional(),
    sandboxLimitedNetworkEgress: z.boolean(),
    previewWarningEnabled: z.boolean(),
    ssoEnabled: z.boolean(),
    defaultRegionId: z.string().optional(),
    authenticatedRateLimit: nullableNumber,
    sandboxCreateRateLimit: nullableNumber,
    sandboxLifecycleRateLimit: nullableNumber,
    authenticatedRateLimitTtlSeconds: nullableNumber,
    sandboxCreateRateLimitTtlSeconds: nullableNumber,
    sandboxLifecycleRateLimitTtlSeconds: nullableNumber,
    experimentalConfig: z.record(z.string(), z.unknown()),
    otelConfig: z.null(),
  })
  .meta({ id: 'Organization' });
export type OrganizationDto = z.infer<typeof organizationSchema>;

const regionUsageSchema = z
  .object({
    regionId: z.string(),
    sandboxClass: z.string(),
    totalCpuQuota: z.number(),
    currentCpuUsage: z.number(),
    totalMemoryQuota: z.number(),
    currentMemoryUsage: z.number(),
    totalDiskQuota: z.number(),
    currentDiskUsage: z.number(),
    totalGpuQuota: z.number(),
    currentGpuUsage: z.number(),
    maxCpuPerSandbox: nullableNumber,
    maxMemoryPerSandbox: nullableNumber,
    maxDiskPerSandbox: nullableNumber,
    maxDiskPerNonEphemeralSandbox: nullableNumber,
    maxCpuPerGpu: nullableNumber,
    maxMemoryPerGpu: nullableNumber,
    maxDiskPerGpu: nullableNumber,
  })
  .meta({ id: 'RegionUsageOverview' });

export const organizationUsageSchema = z
  .object({
    regionUsage: z.array(regionUsageSchema),
    totalSnapshotQuota: z.number(),
    currentSnapshotUsage: z.number(),
    totalVolumeQuota: z.number(),
    currentVolumeUsage: z.number(),
  })
  .meta({ id: 'OrganizationUsageOverview' });
export type OrganizationUsageDto = z.infer<typeof organizationUsageSchema>;

/** Ours: what an organization decides of its snapshots. */
export const updateOrganizationSchema = z
  .object({
    /** 0: never. */
    snapshotDeactivationTimeoutMinutes: z.int().min(0).max(5_256_000).optional(),
    activateSnapshotsOnUse: z.boolean().optional(),
  })
  .meta({ id: 'UpdateOrganization' });
