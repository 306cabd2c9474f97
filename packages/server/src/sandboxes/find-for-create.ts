import { type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';
import { DarkroomError, forbidden, invalidRequest } from '../platform/errors.ts';
import { isUuid } from '../snapshots/find.ts';
import { type SandboxQuota, type Used, usedSql } from './quota.ts';

export interface SnapshotForCreate {
  id: string;
  name: string;
  state: string;
  cpu: number;
  gpu: number;
  mem: number;
  disk: number;
  layers: string[] | null;
  image: object | null;
  sandbox_class: string;
  entrypoint: string[] | null;
  last_used_at: Date | null;
  error_reason: string | null;
}

export interface FoundForCreate {
  region: string;
  snapshot: SnapshotForCreate;
  /** As of now: what the insert says later decides. */
  quota: SandboxQuota;
  used: Used;
  isNameTaken: boolean;
  /** Of an inactive snapshot: whether it is activated for this. */
  activatesOnUse: boolean;
}

/** One round trip: the snapshot by id or name, own before general; the organization's region, standing and room; the name. */
export async function findForCreate(
  db: Kysely<Database>,
  organizationId: string,
  reference: string,
  sandboxName: string | undefined,
): Promise<FoundForCreate> {
  if (reference.includes('\0')) throw snapshotNotFound(JSON.stringify(reference));
  const columns = sql`id, name, state, cpu, gpu, mem, disk, layers, image, sandbox_class, entrypoint, last_used_at, error_reason`;
  // Separate branches, so that each is one look into an index however many snapshots there are.
  const byId = isUuid(reference)
    ? sql`union all select ${columns}, case when organization_id = o.id then 1 else 4 end from snapshots
          where id = ${reference} and (organization_id = o.id or general) and state <> 'removing'`
    : sql``;
  const { rows } = await sql<
    SnapshotForCreate &
      SandboxQuota & {
        region: string;
        suspended_at: Date | null;
        suspension_reason: string | null;
        used_cpu: number;
        used_memory: number;
        used_disk: number;
        name_taken: boolean;
        activates_on_use: boolean;
      }
  >`
    select o.default_region as region, o.suspended_at, o.suspension_reason, o.activates_on_use, s.*,
      o.max_cpu_per_sandbox, o.max_memory_per_sandbox, o.max_disk_per_sandbox,
      o.total_cpu_quota, o.total_memory_quota, o.total_disk_quota,
      used.cpu as used_cpu, used.memory as used_memory, used.disk as used_disk,
      exists (select from sandboxes where organization_id = o.id and name = ${sandboxName ?? null}
              and state not in ('destroying', 'destroyed')) as name_taken
    from organizations o
    cross join (${usedSql(organizationId)}) used
    left join lateral (
      select ${columns}, 2 as rank from snapshots
        where organization_id = o.id and name = ${reference} and state <> 'removing'
      ${byId}
      union all
      (select ${columns}, 3 as rank from snapshots where general and name = ${reference} and state <> 'removing' order by created_at limit 1)
      order by rank limit 1
    ) s on true
    where o.id = ${organizationId}`.execute(db);
  const row = rows[0];
  if (row === undefined) throw forbidden('Invalid authentication context');
  if (row.suspended_at !== null) {
    throw forbidden(`Organization is suspended${row.suspension_reason === null ? '' : `: ${row.suspension_reason}`}`);
  }
  if (row.id === null) throw snapshotNotFound(reference);
  const used = { cpu: row.used_cpu, memory: row.used_memory, disk: row.used_disk };
  return {
    region: row.region,
    snapshot: row,
    quota: row,
    used,
    isNameTaken: row.name_taken,
    activatesOnUse: row.activates_on_use,
  };
}

/** Whether a sandbox can be made of it now; the state is said as it is. */
export function assertUsable(
  snapshot: SnapshotForCreate,
): asserts snapshot is SnapshotForCreate & { layers: string[]; image: object } {
  if (snapshot.state !== 'active') {
    throw invalidRequest(`Snapshot ${snapshot.name} is ${snapshot.state}`, {
      retryable: ['pending', 'pulling', 'building', 'snapshotting'].includes(snapshot.state),
      ...(snapshot.error_reason === null ? {} : { hint: snapshot.error_reason }),
    });
  }
  // The table forbids it; a row without layers must not become a sandbox without files.
  if (snapshot.layers === null || snapshot.image === null) {
    throw new DarkroomError('internal', `Snapshot ${snapshot.name} is active and has no layers`);
  }
}

const snapshotNotFound = (reference: string) =>
  invalidRequest(`Snapshot ${reference} not found. Did you add it through the Daytona Dashboard?`, {
    hint: 'There is none here: daytona.snapshot.create({ name, image }) makes snapshots.',
  });
