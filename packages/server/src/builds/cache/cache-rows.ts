import { type Kysely, sql } from 'kysely';
import type { Database } from '../../platform/db/schema.ts';

/** Whose row: results are of one organization, and layers of one runner. */
export interface RowName {
  organizationId: string;
  key: Buffer;
}

export interface CacheRow {
  layer: string | null;
  buildId: string;
  /** Undefined when the layer is known to be on disk. */
  bootId: string | undefined;
  ageSeconds: number;
  /** Its last use was noted within the last minute. */
  isUseNoted: boolean;
}

export interface NewCacheRow extends RowName {
  layer: string | undefined;
  sizeBytes: number;
  fingerprints: Readonly<Record<string, string>>;
  textDigest: Buffer;
  buildId: string;
  bootId: string | undefined;
}

export interface CacheRows {
  find(name: RowName): Promise<CacheRow | undefined>;
  /** What is kept of the parts of the last steps with this text, newest first. */
  withText(organizationId: string, textDigest: Buffer): Promise<Record<string, string>[]>;
  record(row: NewCacheRow): Promise<void>;
  /** Only if it still has this layer: another build may have recorded a better one. */
  remove(name: RowName, layer: string | null): Promise<void>;
  markDurable(layers: readonly string[]): Promise<void>;
  noteUse(names: readonly RowName[]): Promise<void>;
}

const COMPARED = 8;

// Nobody is told of a row before its build ends, and a lost one costs a step: the commits do not wait for the disk.
const unsynced = sql`setting as (select set_config('synchronous_commit', 'off', true))`;

export function createCacheRows(db: Kysely<Database>, runnerId: string): CacheRows {
  return {
    async find({ organizationId, key }) {
      const { rows } = await sql<Omit<CacheRow, 'bootId'> & { bootId: string | null }>`
        select layer, build_id as "buildId", boot_id as "bootId",
          extract(epoch from clock_timestamp() - created_at)::float8 as "ageSeconds",
          last_used_at > clock_timestamp() - interval '1 minute' as "isUseNoted"
        from build_cache
        where organization_id = ${organizationId}::uuid and runner_id = ${runnerId} and key = ${key}`.execute(db);
      const [row] = rows;
      return row === undefined ? undefined : { ...row, bootId: row.bootId ?? undefined };
    },
    async withText(organizationId, textDigest) {
      const rows = await db
        .selectFrom('build_cache')
        .select('parts')
        .where('organization_id', '=', organizationId)
        .where('runner_id', '=', runnerId)
        .where('text_digest', '=', textDigest)
        .orderBy('created_at', 'desc')
        .limit(COMPARED)
        .execute();
      return rows.map(({ parts }) => parts);
    },
    async record(row) {
      await sql`with ${unsynced}, written as (
        insert into build_cache
          (organization_id, runner_id, key, layer, size_bytes, parts, text_digest, build_id, boot_id)
        values (${row.organizationId}::uuid, ${runnerId}, ${row.key}, ${row.layer ?? null}, ${row.sizeBytes},
          ${JSON.stringify(row.fingerprints)}::jsonb, ${row.textDigest}, ${row.buildId}, ${row.bootId ?? null})
        on conflict (organization_id, runner_id, key) do update set
          layer = excluded.layer, size_bytes = excluded.size_bytes, parts = excluded.parts,
          text_digest = excluded.text_digest, build_id = excluded.build_id, boot_id = excluded.boot_id,
          created_at = excluded.created_at, last_used_at = excluded.last_used_at
        returning 1)
        select 1 from written, setting`.execute(db);
    },
    async remove({ organizationId, key }, layer) {
      await sql`with ${unsynced}, gone as (
        delete from build_cache where organization_id = ${organizationId}::uuid and runner_id = ${runnerId}
          and key = ${key} and layer is not distinct from ${layer} returning 1)
        select 1 from gone, setting`.execute(db);
    },
    async markDurable(layers) {
      if (layers.length === 0) return;
      await sql`with ${unsynced}, marked as (
        update build_cache set boot_id = null
        where layer = any(${[...layers]}::text[]) and boot_id is not null and runner_id = ${runnerId} returning 1)
        select count(*) from marked, setting`.execute(db);
    },
    async noteUse(names) {
      if (names.length === 0) return;
      // In one order for all, so that two servers never wait for each other.
      await sql`with ${unsynced}, used as (
        select organization_id, runner_id, key from build_cache
        join unnest(${names.map((name) => name.organizationId)}::uuid[], ${names.map((name) => name.key)}::bytea[])
          as wanted (organization, wanted_key) on organization_id = organization and key = wanted_key
        where runner_id = ${runnerId} order by 1, 3 for update of build_cache),
      noted as (
        update build_cache c set last_used_at = now() from used
        where (c.organization_id, c.runner_id, c.key) = (used.organization_id, used.runner_id, used.key) returning 1)
        select count(*) from noted, setting`.execute(db);
    },
  };
}
