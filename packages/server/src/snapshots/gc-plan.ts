import { type Kysely, sql } from 'kysely';
import type { ContextStore } from '../builds/contexts/context-store.ts';
import type { Database } from '../platform/db/schema.ts';
import type { LayerKeeper } from './layer-keeper.ts';
import { neededLayers } from './reachable-layers.ts';

/**
 * `sweep`: the next sweep takes it. `pressure`: when the disk or its own limit is full. `held`: nothing needs it, but something under way
 * may.
 */
export type GoesWhen = 'sweep' | 'pressure' | 'held';

export interface GcItem {
  kind: 'layer' | 'context' | 'build-log';
  id: string;
  organizationId: string | undefined;
  sizeBytes: number | undefined;
  goes: GoesWhen;
  why: string;
}

export interface GcPlanDeps {
  db: Kysely<Database>;
  layers: Pick<LayerKeeper, 'list' | 'isHeld'>;
  contexts: Pick<ContextStore, 'list'>;
  /** Ids of builds that have a log. */
  logs: { strayLogs(): Promise<string[]> };
  unusedContextDays: number;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** What garbage collection would take, and why. Takes nothing. */
export async function planGarbage(deps: GcPlanDeps): Promise<GcItem[]> {
  const parts = await Promise.all([planLayers(deps), planContexts(deps), planLogs(deps)]);
  return parts.flat();
}

async function planLayers({ db, layers }: GcPlanDeps): Promise<GcItem[]> {
  // Listed first: a row that is written after its layer is seen then.
  const stored = await layers.list();
  const { needed, cached } = await db
    .transaction()
    .setIsolationLevel('repeatable read')
    .execute(async (trx) => ({ needed: await neededLayers(trx), cached: await cachedLayers(trx) }));
  return stored.flatMap(({ diffId: id, sizeBytes }): GcItem[] => {
    if (needed.has(id)) return [];
    const lastUsed = cached.get(id);
    const item = { kind: 'layer', id, organizationId: undefined, sizeBytes } as const;
    if (lastUsed !== undefined) {
      const why = `only the build cache keeps it, which used it last at ${lastUsed.toISOString()}`;
      return [{ ...item, goes: 'pressure', why }];
    }
    if (layers.isHeld(id))
      return [{ ...item, goes: 'held', why: 'a pull, a build or a start that is under way may need it' }];
    return [{ ...item, goes: 'sweep', why: 'no snapshot, sandbox or result of a build names it' }];
  });
}

/** When the cache used each last. */
async function cachedLayers(db: Kysely<Database>): Promise<ReadonlyMap<string, Date>> {
  const { rows } = await sql<{ layer: string; at: Date }>`
    select layer, max(at) as at from (
      select layer, last_used_at as at from build_cache where layer is not null
      union all
      select unnest(layers), last_used_at from base_images
    ) cached group by layer`.execute(db);
  return new Map(rows.map(({ layer, at }) => [layer, at]));
}

async function planContexts({ db, contexts, unusedContextDays }: GcPlanDeps): Promise<GcItem[]> {
  const organizations = await db.selectFrom('organizations').select('id').execute();
  const before = Date.now() - unusedContextDays * DAY_MS;
  const items: GcItem[] = [];
  for (const { id: organizationId } of organizations) {
    for (const { hash, size, usedAt } of await contexts.list(organizationId)) {
      if (usedAt.getTime() >= before) continue;
      const why = `no build and no client asked for it since ${usedAt.toISOString()}`;
      items.push({ kind: 'context', id: hash, organizationId, sizeBytes: size, goes: 'sweep', why });
    }
  }
  return items;
}

async function planLogs({ logs }: GcPlanDeps): Promise<GcItem[]> {
  return (await logs.strayLogs()).map((id) => ({
    kind: 'build-log',
    id,
    organizationId: undefined,
    sizeBytes: undefined,
    goes: 'sweep',
    why: 'its build is gone',
  }));
}
