import type { Kysely } from 'kysely';
import type { FindSubject } from '../builds/subject.ts';
import { moveSnapshot } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import type { Instance } from '../platform/instance.ts';

const ACTOR = 'job:snapshot.build';
const BUILDING = ['building'] as const;

/** A snapshot as what a build is for. It is `building` from the first moment on. */
export function snapshotSubject(
  db: Kysely<Database>,
  { id: instanceId, runnerId }: Pick<Instance, 'id' | 'runnerId'>,
): FindSubject {
  return ({ snapshot_id: id }) => {
    if (id === null) return undefined;
    const held = { from: BUILDING, actor: ACTOR, heldBy: instanceId };
    return {
      kind: 'snapshot',
      id,
      isBuilding: (state) => state === 'building',
      // What this process has taken before, and not begun, it takes again.
      take: () => moveSnapshot(db, id, { ...held, to: 'building', unowned: true, ownerId: instanceId, durable: false }),
      async begin({ waited }) {
        if (!waited) return true;
        const move = { ...held, to: 'building', ownerId: instanceId, durable: false } as const;
        return (await moveSnapshot(db, id, move)) !== undefined;
      },
      async succeed({ layers, config, sizeBytes }) {
        const moved = await moveSnapshot(db, id, {
          ...held,
          to: 'active',
          set: {
            runner_id: runnerId,
            layers,
            image: JSON.stringify(config),
            size_bytes: sizeBytes,
            entrypoint: config.entrypoint.length > 0 ? config.entrypoint : null,
            last_used_at: new Date(),
          },
        });
        return moved !== undefined;
      },
      async fail(trx, { reason, code }) {
        return (await moveSnapshot(trx, id, { ...held, to: 'error', reason, errorCode: code })) !== undefined;
      },
    };
  };
}
