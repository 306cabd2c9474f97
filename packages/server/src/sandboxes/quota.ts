import { sql, type Transaction } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { DarkroomError, invalidRequest } from '../platform/errors.ts';
import { checkResources, type Resources } from '../snapshots/check-resources.ts';

export interface Used {
  cpu: number;
  memory: number;
  disk: number;
}

export type SandboxQuota = Parameters<typeof checkResources>[1] & {
  total_cpu_quota: number;
  total_memory_quota: number;
  total_disk_quota: number;
};

/**
 * Raises `quota_exceeded` when the organization has no room for one more running sandbox of this size. Holds the organization's
 * row until the transaction ends, so that two starts at once cannot both take the last room. An idle one takes disk alone. `copies` of it
 * are wanted together.
 */
export async function reserveRoom(
  trx: Transaction<Database>,
  organizationId: string,
  wanted: Resources,
  options: { sandboxId?: string; isIdle?: boolean; copies?: number } = {},
): Promise<void> {
  const quota = await trx
    .selectFrom('organizations')
    .select([
      'max_cpu_per_sandbox',
      'max_memory_per_sandbox',
      'max_disk_per_sandbox',
      'total_cpu_quota',
      'total_memory_quota',
      'total_disk_quota',
    ])
    .where('id', '=', organizationId)
    .forNoKeyUpdate()
    .executeTakeFirst();
  if (quota === undefined) throw invalidRequest('The organization does not exist any more');
  // A second statement: it must see what was committed while this one waited for the row.
  const { rows } = await sql<Used>`select * from (${usedSql(organizationId, options.sandboxId)}) used`.execute(trx);
  const used = withCopies(rows[0] ?? { cpu: 0, memory: 0, disk: 0 }, wanted, (options.copies ?? 1) - 1);
  if (!options.isIdle) return assertRoom(quota, used, wanted);
  checkResources(wanted, quota);
  assertTotal('disk', used.disk + wanted.disk, quota.total_disk_quota, 'GiB');
}

/** All but the last of several, which is then asked about. */
function withCopies(used: Used, { cpu, memory, disk }: Resources, copies: number): Used {
  return { cpu: used.cpu + copies * cpu, memory: used.memory + copies * memory, disk: used.disk + copies * disk };
}

/** Raises `quota_exceeded` when there is no room for `wanted` beside what is used. */
export function assertRoom(quota: SandboxQuota, used: Used, wanted: Resources): void {
  checkResources(wanted, quota);
  assertTotal('CPU', used.cpu + wanted.cpu, quota.total_cpu_quota, '');
  assertTotal('memory', used.memory + wanted.memory, quota.total_memory_quota, 'GiB');
  assertTotal('disk', used.disk + wanted.disk, quota.total_disk_quota, 'GiB');
}

/** Cores and memory are taken while a sandbox runs, disk as long as it exists. */
export function usedSql(organizationId: string, exceptId?: string) {
  return sql`
    select coalesce(sum(cpu) filter (where state not in ('stopped', 'error')), 0)::float8 as cpu,
           coalesce(sum(memory) filter (where state not in ('stopped', 'error')), 0)::float8 as memory,
           coalesce(sum(disk), 0)::float8 as disk
    from sandboxes
    where organization_id = ${organizationId} and state not in ('destroying', 'destroyed')
      and id is distinct from ${exceptId ?? null}::uuid`;
}

function assertTotal(what: string, amount: number, max: number, unit: string): void {
  if (amount > max) throw quotaExceeded(`Total ${what} limit exceeded. Maximum allowed: ${max}${unit}.`);
}

const quotaExceeded = (message: string) => new DarkroomError('quota_exceeded', message);
