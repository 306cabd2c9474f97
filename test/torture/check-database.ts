import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

const LIMIT_MS = 15_000;
const POLL_MS = 50;

/** What no server works on any more must not look as if one did. Jobs of what rests are done. */
const QUERIES: Record<string, string> = {
  'is owned by a dead server': `
    select 'snapshot ' || name || ' (' || state || ')' as what, owner_id from snapshots
      where owner_id is not null and deadline_at is not null
    union all select 'sandbox ' || name || ' (' || state || ')', owner_id from sandboxes
      where owner_id is not null and deadline_at is not null`,
  'is a job that is not done': `select 'job ' || name || ' ' || coalesce(singleton_key, id::text) || ' ' || state::text as what from pgboss.job
    where state in ('created', 'retry', 'active')`,
  'is a place of a job that is not given back': `select 'run ' || name || ' ' || key as what from job_runs`,
  'is the lease of a dead server': `select 'lease ' || id as what from instances offset 1`,
};

/** Asked of the embedded database itself, while nothing is being done. Waits until all is well, for a while. */
export async function checkDatabase(stateDir: string): Promise<string[]> {
  const client = new pg.Client({ host: await socketDirectory(stateDir), user: 'darkroom', database: 'postgres' });
  client.on('error', () => {});
  await client.connect();
  try {
    const deadline = performance.now() + LIMIT_MS;
    for (;;) {
      const wrong: string[] = [];
      for (const [meaning, query] of Object.entries(QUERIES)) {
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
