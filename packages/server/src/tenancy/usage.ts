import { type Kysely, sql } from 'kysely';
import type { Database } from '../platform/db/schema.ts';

export interface SandboxUsage {
  cpu: number;
  /** GiB. */
  memory: number;
  disk: number;
}

/** What the organization's sandboxes take: cores and memory while they run, disk as long as they exist. */
export async function sandboxUsage(db: Kysely<Database>, organizationId: string): Promise<SandboxUsage> {
  const { rows } = await sql<SandboxUsage>`
    select coalesce(sum(cpu) filter (where state not in ('stopped', 'error')), 0)::float8 as cpu,
           coalesce(sum(memory) filter (where state not in ('stopped', 'error')), 0)::float8 as memory,
           coalesce(sum(disk), 0)::float8 as disk
    from sandboxes where organization_id = ${organizationId} and state not in ('destroying', 'destroyed')`.execute(db);
  return rows[0] ?? { cpu: 0, memory: 0, disk: 0 };
}
