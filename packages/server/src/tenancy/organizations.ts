import type { Kysely, Selectable } from 'kysely';
import type { Config } from '../platform/config-schema.ts';
import type { Database, OrganizationTable } from '../platform/db/schema.ts';
import { forbidden, notFound } from '../platform/errors.ts';

export type OrganizationRow = Selectable<OrganizationTable>;

export async function createOrganization(
  db: Kysely<Database>,
  name: string,
  quotas: Config['quotas'],
): Promise<OrganizationRow> {
  return db
    .insertInto('organizations')
    .values({
      name,
      max_cpu_per_sandbox: quotas.maxCpuPerSandbox,
      max_memory_per_sandbox: quotas.maxMemoryPerSandbox,
      max_disk_per_sandbox: quotas.maxDiskPerSandbox,
      snapshot_quota: quotas.snapshots,
      max_snapshot_size_gb: quotas.maxSnapshotSizeGb,
      total_cpu_quota: quotas.totalCpu,
      total_memory_quota: quotas.totalMemory,
      total_disk_quota: quotas.totalDisk,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}

export async function getOrganization(db: Kysely<Database>, id: string): Promise<OrganizationRow> {
  const row = await db.selectFrom('organizations').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw notFound(`Organization with ID ${id} not found`);
  return row;
}

/** What an organization decides of its snapshots. */
export async function updateOrganization(
  db: Kysely<Database>,
  id: string,
  {
    deactivationMinutes,
    activatesOnUse,
  }: { deactivationMinutes?: number | undefined; activatesOnUse?: boolean | undefined },
): Promise<void> {
  await db
    .updateTable('organizations')
    .set({
      updated_at: new Date(),
      ...(deactivationMinutes === undefined ? {} : { snapshot_deactivation_timeout_minutes: deactivationMinutes }),
      ...(activatesOnUse === undefined ? {} : { activates_on_use: activatesOnUse }),
    })
    .where('id', '=', id)
    .execute();
}

/** A suspended organization keeps what it has and starts nothing new. */
export function assertNotSuspended(organization: Pick<OrganizationRow, 'suspended_at' | 'suspension_reason'>): void {
  if (organization.suspended_at === null) return;
  const { suspension_reason: reason } = organization;
  throw forbidden(reason === null ? 'Organization is suspended' : `Organization is suspended: ${reason}`);
}
