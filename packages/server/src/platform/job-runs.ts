import { type Kysely, sql } from 'kysely';
import type { Database } from './db/schema.ts';

export interface JobRun {
  name: string;
  key: string;
  jobId: string;
  instanceId: string;
}

/**
 * Takes the only place for a job of this name and key. `busy`: another living process runs another one. `ended`: this one
 * was cancelled between being handed out and now. What this process itself runs it knows better than the table, whose row
 * may be left from a moment when the database could not be reached. Who is not steady takes no other process for dead.
 */
export async function claimRun(
  db: Kysely<Database>,
  run: JobRun,
  { isSteady }: { isSteady: boolean },
): Promise<'mine' | 'busy' | 'ended'> {
  const { rows } = await sql<{ state: string | null }>`
    insert into job_runs as r (name, key, job_id, instance_id)
    values (${run.name}, ${run.key}, ${run.jobId}, ${run.instanceId})
    on conflict (name, key) do update set job_id = excluded.job_id, instance_id = excluded.instance_id
      where r.job_id = excluded.job_id
        or r.instance_id = excluded.instance_id
        or not exists (select from pgboss.job j where j.name = r.name and j.id = r.job_id and j.state = 'active')
        or not exists (
          select from instances i where i.id = r.instance_id and (i.lease_expires_at > now() or ${!isSteady}))
    returning (select state::text from pgboss.job where name = ${run.name} and id = ${run.jobId}) as state`.execute(db);
  const [claimed] = rows;
  if (claimed === undefined) return 'busy';
  return claimed.state === 'active' ? 'mine' : 'ended';
}

export async function releaseRun(db: Kysely<Database>, run: JobRun): Promise<void> {
  await db
    .deleteFrom('job_runs')
    .where('name', '=', run.name)
    .where('key', '=', run.key)
    .where('job_id', '=', run.jobId)
    .execute();
}

/** Removes and gives the runs of processes that are no more. */
export async function takeDeadRuns(db: Kysely<Database>): Promise<{ name: string; jobId: string }[]> {
  const { rows } = await sql<{ name: string; jobId: string }>`
    delete from job_runs r
    where not exists (select from instances i where i.id = r.instance_id and i.lease_expires_at > now())
    returning name, job_id as "jobId"`.execute(db);
  return rows;
}

/**
 * Jobs that were handed out and not begun when their server was killed. Only where no other server is known, whose it could be: elsewhere the
 * heartbeat tells.
 */
export async function jobsOfNobody(
  db: Kysely<Database>,
  instanceId: string,
): Promise<{ name: string; jobId: string }[]> {
  const { rows } = await sql<{ name: string; jobId: string }>`
    select j.name, j.id as "jobId" from pgboss.job j
    where j.state = 'active' and not exists (select from instances i where i.id <> ${instanceId})
      and not exists (select from job_runs r where r.name = j.name and r.job_id = j.id)`.execute(db);
  return rows;
}

/** Names of jobs that are due: of those that are to be tried again nobody is told, and a message may be lost. */
export async function dueNames(db: Kysely<Database>): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    select distinct name from pgboss.job where state in ('created', 'retry') and start_after <= now()`.execute(db);
  return rows.map(({ name }) => name);
}

/** One attempt more for a job that is handed out. */
export async function allowOneMore(db: Kysely<Database>, { name, id }: { name: string; id: string }): Promise<void> {
  await sql`update pgboss.job set retry_limit = retry_limit + 1
    where name = ${name} and id = ${id} and state = 'active'`.execute(db);
}
