import type { Kysely } from 'kysely';
import type { NewSandbox, NewSnapshot } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';

/** Rows for tests with every column that must be there; what a test is about is given in `values`. */
export async function addOrganization(db: Kysely<Database>, name = 'test'): Promise<string> {
  const quotas = {
    snapshot_quota: 100,
    max_snapshot_size_gb: 20,
    total_cpu_quota: 100,
    total_memory_quota: 100,
    total_disk_quota: 100,
  };
  const row = await db
    .insertInto('organizations')
    .values({ name, max_cpu_per_sandbox: 4, max_memory_per_sandbox: 8, max_disk_per_sandbox: 10, ...quotas })
    .returning('id')
    .executeTakeFirstOrThrow();
  return row.id;
}

export function newSnapshot(organizationId: string, values: Partial<NewSnapshot> = {}): NewSnapshot {
  return {
    organization_id: organizationId,
    name: `snapshot-${crypto.randomUUID()}`,
    state: 'pending',
    image_name: 'alpine:3.21',
    cpu: 1,
    mem: 1,
    disk: 3,
    region_id: 'local',
    ...values,
  };
}

export function newSandbox(organizationId: string, values: Partial<NewSandbox> = {}): NewSandbox {
  return {
    organization_id: organizationId,
    name: `sandbox-${crypto.randomUUID()}`,
    snapshot_name: 'test',
    state: 'creating',
    desired_state: 'started',
    user_name: '',
    env: '{}',
    labels: '{}',
    region_id: 'local',
    cpu: 1,
    memory: 1,
    disk: 3,
    auto_stop_interval: 15,
    auto_archive_interval: 0,
    auto_delete_interval: -1,
    layers: [],
    image: '{}',
    ...values,
  };
}
