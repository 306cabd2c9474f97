import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

/** A job whose announcement was lost is found by a look every 30 seconds. */
const LIMIT_MS = 45_000;
/** A failed job is tried again after up to a minute; one that was handed out and not begun is found by its heartbeat. */
const ALL_DONE_LIMIT_MS = 120_000;
const POLL_MS = 50;

/** What no server works on any more must not look as if one did. */
const QUERIES: Record<string, string> = {
  'is being changed': `
    select 'snapshot ' || name || ' (' || state || ')' as what from snapshots where owner_id is not null and deadline_at is not null
    union all
    select 'sandbox ' || name || ' (' || state || ')' from sandboxes where owner_id is not null and deadline_at is not null`,
  'is due and nobody does it': `
    select 'job ' || name || ' ' || coalesce(singleton_key, id::text) as what from pgboss.job
    where state in ('created', 'retry') and start_after <= now() - interval '1 second'`,
  'is a place of a job that nobody works on': `
    select 'run ' || r.name || ' ' || key as what from job_runs r
    where not exists (select from pgboss.job j where j.name = r.name and j.id = r.job_id and j.state = 'active')`,
  'is the lease of another server': `select 'lease ' || id as what from instances order by lease_expires_at desc offset 1`,
};
const ANY_JOB = `
  select 'job ' || name || ' ' || coalesce(singleton_key, id::text) || ' (' || state || ')' as what from pgboss.job
  where state in ('created', 'retry', 'active')`;

/**
 * Asked of the embedded database itself, while nothing is being done. Waits until all is well, for a while; with `allDone` until the
 * queue is empty, which takes longer.
 */
export async function checkDatabase(
  stateDir: string,
  { allDone = false }: { allDone?: boolean } = {},
): Promise<string[]> {
  const client = new pg.Client({ host: await socketDirectory(stateDir), user: 'darkroom', database: 'postgres' });
  client.on('error', () => {});
  await client.connect();
  const queries = { ...QUERIES, ...(allDone ? { 'is a job that is not done': ANY_JOB } : {}) };
  try {
    const deadline = performance.now() + (allDone ? ALL_DONE_LIMIT_MS : LIMIT_MS);
    for (;;) {
      const wrong: string[] = [];
      for (const [meaning, query] of Object.entries(queries)) {
        const { rows } = await client.query<{ what: string }>(query);
        wrong.push(...rows.map(({ what }) => `${what} ${meaning}`));
      }
      if (wrong.length === 0 || performance.now() > deadline) return wrong;
      await sleep(POLL_MS);
    }
  } finally {
    await client.end().catch(() => {});
  }
}

async function socketDirectory(stateDir: string): Promise<string> {
  const lines = (await readFile(join(stateDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n');
  return lines[4] ?? '';
}
