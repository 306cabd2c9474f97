import { type Kysely, sql } from 'kysely';
import type { Database } from '../../platform/db/schema.ts';
import type { Check, Finding, Scene } from '../types.ts';

interface Wrong {
  organization: string;
  type: string;
  state: string;
  general: boolean;
  counted: number;
  real: number;
}

/** Quotas and totals of lists go by counters that triggers keep. */
export const stateCounts: Check = {
  name: 'state-counts',
  title: 'counters of states',
  async *find(scene) {
    for (const wrong of await wrongCounts(scene.db)) {
      const { organization, type, state, general, counted, real } = wrong;
      yield {
        kind: 'count',
        id: `${organization}/${type}/${state}${general ? '/general' : ''}`,
        where: 'state_counts',
        problem: `${counted} are counted, and there are ${real}`,
        repair: { does: 'count anew', run: () => countAnew(scene, wrong) },
      } satisfies Finding;
    }
  },
};

/** One statement, so that both sides are of one moment. */
async function wrongCounts(db: Kysely<Database>): Promise<Wrong[]> {
  const { rows } = await sql<Wrong>`
    with real as (
      select organization_id, 'snapshot' as subject_type, state, general, count(*) from snapshots group by 1, 3, 4
      union all
      select organization_id, 'sandbox', state, false, count(*) from sandboxes group by 1, 3)
    select organization_id as organization, subject_type as type, state, general,
      coalesce(c.count, 0) as counted, coalesce(r.count, 0) as real
    from state_counts c full join real r using (organization_id, subject_type, state, general)
    where coalesce(c.count, 0) <> coalesce(r.count, 0)`.execute(db);
  return rows;
}

async function countAnew({ db }: Scene, wrong: Wrong): Promise<string | undefined> {
  return db.transaction().execute(async (trx) => {
    // Whoever changes a state waits for the moment that this takes.
    await sql`lock table snapshots, sandboxes, state_counts in share row exclusive mode`.execute(trx);
    const isSame = (each: Wrong) =>
      each.organization === wrong.organization &&
      each.type === wrong.type &&
      each.state === wrong.state &&
      each.general === wrong.general;
    const now = (await wrongCounts(trx)).find(isSame);
    if (now === undefined) return undefined;
    await sql`
      insert into state_counts (organization_id, subject_type, state, general, count)
      values (${now.organization}, ${now.type}, ${now.state}, ${now.general}, ${now.real})
      on conflict (organization_id, subject_type, state, general) do update set count = excluded.count`.execute(trx);
    return `${now.real} are counted`;
  });
}
