import { type Kysely, sql } from 'kysely';
import type { ImageConfig, PulledImage } from '../images/types.ts';
import type { Database } from '../platform/db/schema.ts';

export interface KnownImage extends PulledImage {
  resolvedAt: Date;
}

/** What references meant for an organization the last time. */
export interface BaseImageRows {
  find(organizationId: string, reference: string): Promise<KnownImage | undefined>;
  /** `isResolved`: the registry said so just now. Else it was only used. */
  note(organizationId: string, reference: string, image: PulledImage, options: { isResolved: boolean }): Promise<void>;
}

export function createBaseImageRows(
  db: Kysely<Database>,
  { runnerId, platform }: { runnerId: string; platform: string },
): BaseImageRows {
  return {
    async find(organizationId, reference) {
      const { rows } = await sql<KnownImage & { config: ImageConfig }>`
        select resolved, layers, config, size_bytes as "sizeBytes", resolved_at as "resolvedAt"
        from base_images where organization_id = ${organizationId}::uuid and runner_id = ${runnerId}
          and reference = ${reference} and platform = ${platform}`.execute(db);
      return rows[0];
    },
    async note(organizationId, reference, { resolved, layers, config, sizeBytes }, { isResolved }) {
      const resolvedAt = isResolved ? sql`, resolved_at = excluded.resolved_at` : sql``;
      // A lost row costs a pull, no more: the commit does not wait for the disk.
      await sql`with setting as (select set_config('synchronous_commit', 'off', true)), written as (
        insert into base_images (organization_id, runner_id, reference, platform, resolved, layers, config, size_bytes)
        values (${organizationId}::uuid, ${runnerId}, ${reference}, ${platform}, ${resolved}, ${layers}::text[],
          ${JSON.stringify(config)}::json, ${sizeBytes})
        on conflict (organization_id, runner_id, reference, platform) do update set
          resolved = excluded.resolved, layers = excluded.layers, config = excluded.config,
          size_bytes = excluded.size_bytes, last_used_at = excluded.last_used_at${resolvedAt}
        returning 1)
        select 1 from written, setting`.execute(db);
    },
  };
}
