import type { Config } from '../platform/config-schema.ts';
import type { OrganizationRow } from '../tenancy/organizations.ts';
import type { BuildLimits } from './types.ts';

export type BuildSettings = Pick<
  Config['builds'],
  'concurrency' | 'concurrencyPerOrganization' | 'limits' | 'logsMbPerOrganization'
>;

const GIB = 1024 ** 3;

/** What the server gives a build, and no more than the organization may have. */
export function limitsOf(limits: BuildSettings['limits'], organization: OrganizationRow): BuildLimits {
  const memoryGb = Math.min(limits.memoryGb, organization.max_memory_per_sandbox);
  return {
    cpu: Math.min(limits.cpu, organization.max_cpu_per_sandbox),
    memoryBytes: Math.floor(memoryGb * GIB),
    pids: limits.pids,
    diskBytes: Math.floor(Math.min(limits.diskGb, organization.max_snapshot_size_gb) * GIB),
    stepSeconds: limits.stepMinutes * 60,
    maxBytes: Math.floor(organization.max_snapshot_size_gb * GIB),
  };
}
