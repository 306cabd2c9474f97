import { type Kysely, sql } from 'kysely';
import type { Collector, GarbageItem } from '../garbage/collector.ts';
import { atOneMoment, forgetMarks, readMarks, remark } from '../garbage/marks.ts';
import type { OpenLayerStore } from '../images/layer-store.ts';
import type { Database } from '../platform/db/schema.ts';
import type { LayerKeeper } from './layer-keeper.ts';

export interface DamagedLayersDeps {
  db: Kysely<Database>;
  store: Pick<OpenLayerStore, 'listDamaged' | 'removeDamaged'>;
  layers: Pick<LayerKeeper, 'heldForMs'>;
  runnerId: string;
  graceSeconds: number;
}

type Damaged = Awaited<ReturnType<OpenLayerStore['listDamaged']>>[number];

/** A container mounts its layers some moments after the change of its state. */
const SLACK = '1 minute';
const WHY = 'it was damaged and is there anew, and nothing runs on the old files';

/** Damaged layers that were fetched again. What ran on them before goes on with the old files, which stay until nothing does. */
export function createDamagedLayers(deps: DamagedLayersDeps): Collector {
  const { db, store, layers, runnerId, graceSeconds } = deps;
  const mark = { runnerId, kind: 'damaged-layer' } as const;

  async function isUsed(trx: Kysely<Database>, { record, since }: Damaged): Promise<boolean> {
    const { rows } = await sql`
      select from sandboxes s
      where ${record.diffId} = any(s.layers) and s.runner_id = ${runnerId} and s.state not in ('stopped', 'destroyed')
        and not exists (select from events e where e.subject_id = s.id and e.subject_type = 'sandbox'
          and e.to_state in ('creating', 'starting') and e.at > ${since}::timestamptz + interval '${sql.raw(SLACK)}')
      limit 1`.execute(trx);
    return rows.length > 0;
  }

  /** A build's steps may have them, too. */
  const isHeld = ({ since }: Damaged) => Date.now() - since.getTime() < (layers.heldForMs() ?? 0) + 60_000;

  async function split(trx: Kysely<Database>): Promise<{ free: Damaged[]; used: Damaged[] }> {
    const free: Damaged[] = [];
    const used: Damaged[] = [];
    for (const damaged of await store.listDamaged()) {
      const needed = isHeld(damaged) || (await isUsed(trx, damaged));
      (needed ? used : free).push(damaged);
    }
    return { free, used };
  }

  const itemOf = ({ number, record }: Damaged, rest: Pick<GarbageItem, 'goes' | 'why'>): GarbageItem => ({
    kind: 'damaged-layer',
    id: `${number} ${record.diffId}`,
    sizeBytes: record.sizeBytes,
    ...rest,
  });

  return {
    async plan() {
      const [{ free, used }, marks] = await atOneMoment(db, async (trx) => [
        await split(trx),
        await readMarks(trx, mark),
      ]);
      const due = ({ number }: Damaged) => (marks.get(String(number))?.getTime() ?? Date.now()) + graceSeconds * 1000;
      return [
        ...free.map((each) => itemOf(each, { goes: due(each) <= Date.now() ? 'sweep' : 'grace', why: WHY })),
        ...used.map((each) => itemOf(each, { goes: 'held', why: 'what began before it was fetched again has it' })),
      ];
    },
    async collect({ withoutGrace }) {
      const due = await atOneMoment(db, async (trx) => {
        const { free } = await split(trx);
        const ids = free.map(({ number }) => ({ id: String(number), why: WHY }));
        const marked = await remark(trx, { ...mark, graceSeconds: withoutGrace ? 0 : graceSeconds }, ids);
        const dueIds = new Set(marked.filter(({ dueInMs }) => dueInMs <= 0).map(({ id }) => id));
        return free.filter(({ number }) => dueIds.has(String(number)));
      });
      for (const { number } of due) await store.removeDamaged(number, { gently: !withoutGrace });
      await forgetMarks(
        db,
        mark,
        due.map(({ number }) => String(number)),
      );
      return due.map((each) => itemOf(each, { goes: 'sweep', why: WHY }));
    },
  };
}
