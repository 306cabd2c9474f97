import { type RawBuilder, sql } from 'kysely';
import type { JobName } from '../../platform/jobs.ts';
import type { Check, Finding, Scene } from '../types.ts';

/** What each job is about. */
const SUBJECTS: Readonly<Record<JobName, { data: string; table: string }>> = {
  'snapshot.pull': { data: 'snapshotId', table: 'snapshots' },
  'snapshot.build': { data: 'buildId', table: 'builds' },
  'snapshot.remove': { data: 'snapshotId', table: 'snapshots' },
  'snapshot.flatten': { data: 'snapshotId', table: 'snapshots' },
  'sandbox.remove': { data: 'sandboxId', table: 'sandboxes' },
};

const OPEN = sql`('created', 'retry', 'active')`;
/** Between a commit and the start of its job, or the end of one and the next. */
const SETTLING = sql`interval '1 minute'`;

/** Jobs about what is gone, and rows that wait for a job that there is not. */
export const jobs: Check = {
  name: 'jobs',
  title: 'jobs',
  async *find(scene) {
    for (const [name, { data, table }] of Object.entries(SUBJECTS) as [JobName, { data: string; table: string }][]) {
      const { rows } = await sql<{ id: string; key: string | null; subject: string | null }>`
        select j.id, j.singleton_key as key, j.data ->> ${data} as subject from pgboss.job j
        where j.name = ${name} and j.state in ${OPEN} and j.created_on < now() - ${SETTLING} and j.state <> 'active'
          and not exists (select from ${sql.table(table)} t where t.id::text = j.data ->> ${data})`.execute(scene.db);
      for (const { id, subject } of rows) {
        yield {
          kind: 'job-of-nobody',
          id: `${name}/${id}`,
          where: 'pgboss.job',
          problem: `it is about ${subject ?? 'nothing'}, which is not in ${table}`,
          repair: { does: 'end it', run: () => endJob(scene, name, id) },
        } satisfies Finding;
      }
    }
    // The next server gives them their jobs again.
    if (scene.offline) return;
    yield* waiting(scene, 'snapshots', sql`state in ('pending', 'removing')`);
    yield* waiting(scene, 'sandboxes', sql`state = 'destroying'`);
  },
};

async function* waiting(
  scene: Scene,
  table: 'snapshots' | 'sandboxes',
  condition: RawBuilder<unknown>,
): AsyncGenerator<Finding> {
  const { rows } = await sql<{ id: string; name: string; state: string }>`
    select id, name, state from ${sql.table(table)} t
    where ${condition} and state_entered_at < clock_timestamp() - ${SETTLING}
      and not exists (select from pgboss.job j where j.singleton_key = t.id::text and j.state in ${OPEN})`.execute(
    scene.db,
  );
  for (const { id, name, state } of rows) {
    yield {
      kind: 'job-missing',
      id,
      where: `${table === 'snapshots' ? 'snapshot' : 'sandbox'} ${name}`,
      problem: `it is ${state}, and no job is about it`,
      repair: { does: 'give it its job again', run: () => enqueue(scene, table, id, state) },
    } satisfies Finding;
  }
}

async function enqueue(
  { db, jobs: queue }: Scene,
  table: 'snapshots' | 'sandboxes',
  id: string,
  state: string,
): Promise<string | undefined> {
  return db.transaction().execute(async (trx) => {
    const { rows } = await sql`
      select from ${sql.table(table)} where id = ${id} and state = ${state} for update`.execute(trx);
    if (rows.length === 0) return undefined;
    if (table === 'sandboxes') await queue.enqueue(trx, 'sandbox.remove', id, { sandboxId: id });
    else if (state === 'removing') await queue.enqueue(trx, 'snapshot.remove', id, { snapshotId: id });
    else await queue.enqueue(trx, 'snapshot.pull', id, { snapshotId: id });
    return 'given again';
  });
}

async function endJob({ db }: Scene, name: JobName, id: string): Promise<string | undefined> {
  const done =
    await sql`delete from pgboss.job where name = ${name} and id = ${id} and state in ('created', 'retry')`.execute(db);
  return done.numAffectedRows === 0n ? undefined : 'ended';
}
