import { sql } from 'kysely';
import type { Check, Finding, Scene } from '../types.ts';

/** Servers that are long gone and whose rows are still there, and places of jobs that they had. */
export const leases: Check = {
  name: 'leases',
  title: 'leases of servers, and their jobs',
  async *find(scene) {
    const { rows: dead } = await sql<{ id: string; at: Date }>`
      select id, lease_expires_at as at from instances where lease_expires_at < now() - interval '1 hour'`.execute(
      scene.db,
    );
    for (const { id, at } of dead) {
      yield {
        kind: 'lease-dead',
        id,
        where: 'instances',
        problem: `this server's lease ended at ${at.toISOString()}`,
        repair: { does: 'forget the server', run: () => forget(scene, id) },
      } satisfies Finding;
    }
    // A server takes those of dead ones when it starts, so without one they are as they should be.
    if (scene.offline) return;
    const { rows: runs } = await sql<{ name: string; key: string; jobId: string }>`
      select r.name, r.key, r.job_id as "jobId" from job_runs r
      where not exists (select from pgboss.job j where j.name = r.name and j.id = r.job_id and j.state = 'active')
        and not exists (select from instances i where i.id = r.instance_id and i.lease_expires_at > now())`.execute(
      scene.db,
    );
    for (const { name, key, jobId } of runs) {
      yield {
        kind: 'job-run-dead',
        id: `${name}/${key}`,
        where: 'job_runs',
        problem: `job ${jobId} is said to run, but it has ended, and so has its server`,
        repair: { does: 'forget it', run: () => forgetRun(scene, jobId) },
      } satisfies Finding;
    }
  },
};

async function forget({ db }: Scene, id: string): Promise<string | undefined> {
  const { numDeletedRows } = await db
    .deleteFrom('instances')
    .where('id', '=', id)
    .where('lease_expires_at', '<', sql<Date>`now()`)
    .executeTakeFirst();
  return numDeletedRows === 0n ? undefined : 'forgotten';
}

async function forgetRun({ db }: Scene, jobId: string): Promise<string | undefined> {
  const { numDeletedRows } = await db.deleteFrom('job_runs').where('job_id', '=', jobId).executeTakeFirst();
  return numDeletedRows === 0n ? undefined : 'forgotten';
}
