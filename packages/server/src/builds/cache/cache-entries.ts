import { type Kysely, sql } from 'kysely';
import type { Database } from '../../platform/db/schema.ts';

/** A row of the cache that keeps layers on the disk: the result of a step, or a base image. */
export interface CacheEntry {
  kind: 'step' | 'base';
  organizationId: string;
  /** Names the row in its table, for this organization and runner. */
  name: string;
  layers: string[];
  /** Seconds since 1970. */
  lastUsedAt: number;
}

export interface CacheEntries {
  /** Of this runner, those used longest ago first. */
  list(): Promise<CacheEntry[]>;
  /** Except those that were used meanwhile. Returns how many went. */
  remove(entries: readonly CacheEntry[]): Promise<number>;
  removeUnusedFor(days: number): Promise<number>;
  removeAllOf(organizationId: string): Promise<number>;
  removeAll(): Promise<number>;
}

// The platform has a slash and no space.
const stepName = sql`encode(key, 'hex')`;
const baseName = sql`platform || ' ' || reference`;
const seconds = sql`extract(epoch from last_used_at)::float8`;

export function createCacheEntries(db: Kysely<Database>, runnerId: string): CacheEntries {
  const tables = [
    { kind: 'step', table: sql`build_cache`, name: stepName },
    { kind: 'base', table: sql`base_images`, name: baseName },
  ] as const;

  async function removeWhere(table: (typeof tables)[number], condition: ReturnType<typeof sql>): Promise<number> {
    const { numAffectedRows } =
      await sql`delete from ${table.table} where runner_id = ${runnerId} and ${condition}`.execute(db);
    return Number(numAffectedRows ?? 0);
  }

  async function removeFromAll(condition: ReturnType<typeof sql>): Promise<number> {
    let removed = 0;
    for (const table of tables) removed += await removeWhere(table, condition);
    return removed;
  }

  return {
    async list() {
      const { rows } = await sql<CacheEntry>`
        select 'step' as kind, organization_id as "organizationId", ${stepName} as name, array[layer] as layers,
          ${seconds} as "lastUsedAt"
        from build_cache where runner_id = ${runnerId} and layer is not null
        union all
        select 'base', organization_id, ${baseName}, layers, ${seconds} from base_images where runner_id = ${runnerId}
        order by "lastUsedAt"`.execute(db);
      return rows;
    },
    async remove(entries) {
      let removed = 0;
      for (const table of tables) {
        const ours = entries.filter(({ kind }) => kind === table.kind);
        if (ours.length === 0) continue;
        removed += await removeWhere(
          table,
          sql`(organization_id, ${table.name}, ${seconds}) in (select * from unnest(
            ${ours.map((entry) => entry.organizationId)}::uuid[], ${ours.map((entry) => entry.name)}::text[],
            ${ours.map((entry) => entry.lastUsedAt)}::float8[]))`,
        );
      }
      return removed;
    },
    removeUnusedFor: (days) => removeFromAll(sql`last_used_at < now() - make_interval(days => ${days})`),
    removeAllOf: (organizationId) => removeFromAll(sql`organization_id = ${organizationId}::uuid`),
    removeAll: () => removeFromAll(sql`true`),
  };
}
