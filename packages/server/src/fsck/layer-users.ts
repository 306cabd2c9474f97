import { sql } from 'kysely';
import type { Scene } from './types.ts';

/** A row that names layers and cannot do without them. */
export interface LayerUser {
  type: 'snapshot' | 'sandbox';
  id: string;
  name: string;
  state: string;
  /** The machine that it is on; null where its row does not say. */
  runnerId: string | null;
  buildId: string | null;
  sourceSandboxId: string | null;
  errorReason: string | null;
  layers: string[];
}

export type LayerUsers = ReadonlyMap<string, readonly LayerUser[]>;

/**
 * By layer, who needs it on this machine. Left out are snapshots that are pulled or built anew, or have failed; inactive ones whose image can be pulled
 * again; and sandboxes that have failed and cannot be started with what is there, since they say so.
 */
export async function readLayerUsers({ db, runnerId }: Pick<Scene, 'db' | 'runnerId'>): Promise<LayerUsers> {
  const { rows } = await sql<LayerUser>`
    select 'snapshot' as type, id, name, state, runner_id as "runnerId", build_id as "buildId", source_sandbox_id as "sourceSandboxId",
        error_reason as "errorReason", layers
      from snapshots
      where layers is not null and coalesce(runner_id, ${runnerId}) = ${runnerId}
        and (state in ('active', 'snapshotting')
          or (state = 'inactive' and (build_id is not null or source_sandbox_id is not null or retain)))
    union all
    select 'sandbox', id, name, state, runner_id, build_id, null, error_reason, layers
      from sandboxes
      where coalesce(runner_id, ${runnerId}) = ${runnerId} and state not in ('destroying', 'destroyed')`.execute(db);
  const users = new Map<string, LayerUser[]>();
  for (const row of rows) {
    for (const layer of new Set(row.layers)) {
      if (saysSo(row, layer)) continue;
      const list = users.get(layer) ?? [];
      list.push(row);
      users.set(layer, list);
    }
  }
  return users;
}

/** Its layers may have been put together into another since it was read. */
export async function stillNeeds({ db }: Pick<Scene, 'db'>, { type, id }: LayerUser, diffId: string): Promise<boolean> {
  const { rows } = await sql`select from ${sql.table(type === 'snapshot' ? 'snapshots' : 'sandboxes')}
    where id = ${id} and layers @> array[${diffId}]`.execute(db);
  return rows.length > 0;
}

/**
 * Whether rows tell of other machines. What does not say on which one it is may then be missing here because it is on another, or because this is not the
 * state directory that the database belongs to.
 */
export async function hasOtherMachines({ db, runnerId }: Pick<Scene, 'db' | 'runnerId'>): Promise<boolean> {
  const { rows } = await sql<{ found: boolean }>`
    select exists (select from sandboxes where runner_id <> ${runnerId} and state <> 'destroyed')
      or exists (select from build_cache where runner_id <> ${runnerId})
      or exists (select from instances where runner_id <> ${runnerId}) as found`.execute(db);
  return rows[0]?.found ?? false;
}

/** How a person, and the reason of a failed row, names a layer. */
export const shortLayer = (diffId: string) => (diffId.length > 28 ? `${diffId.slice(0, 27)}…` : diffId);

export const isBuilt = (diffId: string) => diffId.startsWith('built:');

const saysSo = ({ state, errorReason }: LayerUser, layer: string) =>
  state === 'error' && (errorReason?.includes(shortLayer(layer)) ?? false);

const MANY = 3;

/** `snapshot app, sandbox x and 4 others`. */
export function namesOf(users: readonly Pick<LayerUser, 'type' | 'name'>[]): string {
  const shown = users.slice(0, MANY).map(({ type, name }) => `${type} ${name}`);
  const more = users.length - shown.length;
  return `${shown.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}

/**
 * Those that are told of a lost layer together. What stands on one that was made here is repaired in itself, and what runs never is; so the latter are a finding of
 * their own, which stays.
 */
export function groupsOf(diffId: string, users: readonly LayerUser[]): (readonly LayerUser[])[] {
  if (!isBuilt(diffId)) return [users];
  const { rest = [], busy = [] } = Object.groupBy(users, (user) => (isBusy(user) ? 'busy' : 'rest'));
  return [rest, busy].filter((group) => group.length > 0);
}

/** Nothing is taken away from what runs, and what is under way ends by itself. */
export const isBusy = ({ type, state }: LayerUser) =>
  type === 'sandbox' ? state !== 'stopped' : state === 'snapshotting';
