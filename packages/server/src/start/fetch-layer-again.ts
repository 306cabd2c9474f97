import { sql } from 'kysely';
import type { LayerHealthDeps } from '../images/health/layer-health.ts';
import { parseReference } from '../images/reference.ts';
import type { ImagePuller } from '../images/types.ts';
import { credentialsFor } from '../tenancy/registries.ts';
import type { Ground } from './ground.ts';

export type RefetchGround = Pick<Ground, 'db' | 'secrets'> & {
  instance: Pick<Ground['instance'], 'runnerId'>;
  log: { warn(fields: object, message: string): void };
};

/** Images that have the layer, what was used last first; each may be gone from its registry. */
const TRIES = 5;

/** How a damaged layer is fetched again: by the images that it is of, each with the credentials of the organization that pulled it. */
export function createRefetch(
  { db, secrets, instance, log }: RefetchGround,
  puller: () => ImagePuller,
): Pick<LayerHealthDeps, 'fetchAgain' | 'usersOf'> {
  return {
    async fetchAgain(diffId, signal) {
      const { rows } = await sql<{ organizationId: string; reference: string }>`
        select "organizationId", reference from (
          select organization_id as "organizationId", resolved as reference, last_used_at as used from base_images
            where runner_id = ${instance.runnerId} and ${diffId} = any(layers)
          union all select organization_id, ref, coalesce(last_used_at, created_at) from snapshots
            where ref is not null and build_id is null and ${diffId} = any(layers)
        ) as images order by used desc limit ${TRIES}`.execute(db);
      for (const { organizationId, reference } of rows) {
        try {
          const credentials = credentialsFor({ db, secrets }, organizationId);
          const { layers } = await puller().pull(parseReference(reference), {
            credentials,
            signal,
            maxBytes: Number.MAX_SAFE_INTEGER,
          });
          if (layers.includes(diffId)) return true;
        } catch (error) {
          signal.throwIfAborted();
          log.warn(
            { err: error, layer: diffId, image: reference },
            'an image with a damaged layer could not be pulled',
          );
        }
      }
      return false;
    },
    async usersOf(diffId) {
      const { rows } = await sql<{ name: string }>`
        select name from snapshots where ${diffId} = any(layers) order by name limit 100`.execute(db);
      return rows.map(({ name }) => name);
    },
  };
}
