import { type Kysely, sql } from 'kysely';
import type { GarbageItem } from '../garbage/collector.ts';
import { atOneMoment, readMarks } from '../garbage/marks.ts';
import type { Database } from '../platform/db/schema.ts';
import type { LayerKeeper } from './layer-keeper.ts';
import { neededLayers } from './reachable-layers.ts';

export interface LayerPlanDeps {
  db: Kysely<Database>;
  layers: Pick<LayerKeeper, 'list' | 'isHeld'>;
  runnerId: string;
  graceSeconds: number;
}

/** What sweeps would take of the layers of a machine. */
export async function planLayers({ db, layers, runnerId, graceSeconds }: LayerPlanDeps): Promise<GarbageItem[]> {
  // Listed first: a row that is written after its layer is seen then.
  const stored = await layers.list();
  const { needed, cached, marks } = await atOneMoment(db, async (trx) => ({
    needed: await neededLayers(
      trx,
      stored.map(({ diffId }) => diffId),
    ),
    cached: await cachedLayers(trx, runnerId),
    marks: await readMarks(trx, { runnerId, kind: 'layer' }),
  }));
  return stored.flatMap(({ diffId: id, sizeBytes }): GarbageItem[] => {
    if (needed.has(id)) return [];
    const lastUsed = cached.get(id);
    const item = { kind: 'layer', id, sizeBytes } as const;
    if (lastUsed !== undefined) {
      const why = `only the build cache keeps it, which used it last at ${lastUsed.toISOString()}`;
      return [{ ...item, goes: 'pressure', why }];
    }
    if (layers.isHeld(id))
      return [{ ...item, goes: 'held', why: 'a pull, a build or a start that is under way may need it' }];
    const since = marks.get(id);
    const why = 'no snapshot, sandbox or result of a build names it';
    const dueAt = (since?.getTime() ?? Date.now()) + graceSeconds * 1000;
    if (dueAt <= Date.now()) return [{ ...item, goes: 'sweep', why }];
    return [{ ...item, goes: 'grace', why: `${why}; it goes at ${new Date(dueAt).toISOString()} if that stays so` }];
  });
}

/** When the cache used each last. */
async function cachedLayers(db: Kysely<Database>, runnerId: string): Promise<ReadonlyMap<string, Date>> {
  const { rows } = await sql<{ layer: string; at: Date }>`
    select layer, max(at) as at from (
      select layer, last_used_at as at from build_cache where layer is not null and runner_id = ${runnerId}
      union all
      select unnest(layers), last_used_at from base_images where runner_id = ${runnerId}
    ) cached group by layer`.execute(db);
  return new Map(rows.map(({ layer, at }) => [layer, at]));
}
