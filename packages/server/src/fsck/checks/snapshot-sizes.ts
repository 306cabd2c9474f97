import { type Kysely, sql } from 'kysely';
import { noteRepair } from '../../lifecycle/note.ts';
import type { Database } from '../../platform/db/schema.ts';
import { FSCK } from '../actor.ts';
import type { Check, Finding, Scene } from '../types.ts';

interface Sized {
  id: string;
  name: string;
  state: string;
  layers: string[];
  size: number | null;
  added: number | null;
  /** Of a captured one whose parent is there. */
  parentLayers: string[] | null;
}

/** A snapshot's size is that of its layers; what a capture adds is its own layer, as long as that is one of them. */
export const snapshotSizes: Check = {
  name: 'snapshot-sizes',
  title: 'sizes of snapshots',
  async *find(scene) {
    const sizes = new Map((await scene.store.list()).map(({ diffId, sizeBytes }) => [diffId, sizeBytes]));
    for (const row of await readSized(scene.db, scene.runnerId, undefined)) {
      const wanted = wantedSizes(row, sizes);
      if (wanted === undefined || isRight(row, wanted)) continue;
      yield {
        kind: 'snapshot-size',
        id: row.id,
        where: `snapshot ${row.name}`,
        problem: `it says ${describe(row)}, and its layers have ${describe(wanted)}`,
        repair: { does: 'write the right size', run: () => correct(scene, row.id) },
      } satisfies Finding;
    }
  },
};

async function readSized(db: Kysely<Database>, runnerId: string, id: string | undefined): Promise<Sized[]> {
  const { rows } = await sql<Sized>`
    select s.id, s.name, s.state, s.layers, s.size_bytes as size, s.added_bytes as added, p.layers as "parentLayers"
    from snapshots s left join snapshots p on p.id = s.parent_snapshot_id and s.source_sandbox_id is not null
    where s.state in ('active', 'inactive') and s.layers is not null and coalesce(s.runner_id, ${runnerId}) = ${runnerId}
      ${id === undefined ? sql`` : sql`and s.id = ${id} for update of s`}`.execute(db);
  return rows;
}

/** Undefined where not all layers are here: those of inactive snapshots may be gone. */
function wantedSizes({ layers, added, parentLayers }: Sized, sizes: ReadonlyMap<string, number>) {
  const known = layers.map((layer) => sizes.get(layer));
  if (known.includes(undefined)) return undefined;
  const size = known.reduce<number>((sum, bytes) => sum + (bytes ?? 0), 0);
  const own = parentLayers === null ? undefined : ownLayers(layers, parentLayers);
  if (added === null || own === undefined || own.length > 1) return { size, added };
  return { size, added: own[0] === undefined ? 0 : (sizes.get(own[0]) ?? 0) };
}

/** Undefined when captured layers have been put together since, in the one or the other. */
function ownLayers(layers: readonly string[], parentLayers: readonly string[]): readonly string[] | undefined {
  const isPrefix = parentLayers.every((layer, index) => layers[index] === layer);
  return isPrefix ? layers.slice(parentLayers.length) : undefined;
}

async function correct({ db, store, runnerId }: Scene, id: string): Promise<string | undefined> {
  const sizes = new Map((await store.list()).map(({ diffId, sizeBytes }) => [diffId, sizeBytes]));
  return db.transaction().execute(async (trx) => {
    const [row] = await readSized(trx, runnerId, id);
    const wanted = row && wantedSizes(row, sizes);
    if (row === undefined || wanted === undefined || isRight(row, wanted)) return undefined;
    const reason = `Its size was written as ${describe(row)}; it is ${describe(wanted)}.`;
    const set = { size_bytes: wanted.size, added_bytes: wanted.added };
    await noteRepair(trx, { ...row, type: 'snapshot' }, { actor: FSCK, reason, set });
    return describe(wanted);
  });
}

const isRight = (row: Sized, wanted: Pick<Sized, 'size' | 'added'>) =>
  row.size === wanted.size && row.added === wanted.added;

const describe = ({ size, added }: Pick<Sized, 'size' | 'added'>) =>
  `${size ?? 'no'} bytes${added === null ? '' : `, ${added} of its own`}`;
