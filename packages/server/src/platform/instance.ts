import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { type Kysely, sql } from 'kysely';
import type { BaseLogger } from 'pino';
import type { ClockWatch } from './clock-watch.ts';
import type { Database } from './db/schema.ts';
import { messageOf } from './errors.ts';
import { failpoint } from './failpoints.ts';
import { readIdFile, writeIdFile } from './id-file.ts';

/** This server process, as other processes know it: a row with a lease. What it works on names it as the owner. */
export interface Instance {
  readonly id: string;
  /** The same over restarts: the machine whose layers and sandboxes these are. */
  readonly runnerId: string;
  /** Time until the next lease of another process would end if it is not renewed. */
  msToNextLeaseEnd(): Promise<number | undefined>;
  /**
   * Whether it has renewed its lease all the time that one lasts. Only then may it say that another one is dead: after a while
   * without the database, or a jump of the clock, the leases of all are over, and who comes first must not take from the others.
   */
  isSteady(): boolean;
  /** Gives the lease back. */
  close(): Promise<void>;
}

export const LEASE_SECONDS = 15;
const RENEW_EVERY_MS = 5_000;
/** One renewal that was missed. */
const GAP_MS = 2 * RENEW_EVERY_MS;

/**
 * Takes this process's lease. Earlier processes of the same runner are declared dead at once: the state directory's lock
 * says that they have ended.
 */
export async function openInstance(options: {
  db: Kysely<Database>;
  runnerId: string;
  clock: ClockWatch;
  log: Pick<BaseLogger, 'warn'>;
  now?: () => number;
}): Promise<Instance> {
  const { db, runnerId, clock, log, now = () => performance.now() } = options;
  const id = randomUUID();
  await db.transaction().execute(async (trx) => {
    await trx.deleteFrom('instances').where('runner_id', '=', runnerId).execute();
    await trx.insertInto('instances').values({ id, runner_id: runnerId, lease_expires_at: leaseEnd }).execute();
  });
  // At a start there is nobody's word but that of the rows.
  let steadySince = Number.NEGATIVE_INFINITY;
  let renewedAt = now();
  clock.onJump(async () => {
    steadySince = now();
    // After a jump back a dead process would seem to live until the clock is there again.
    await sql`update instances set lease_expires_at = least(lease_expires_at, ${leaseEnd})`.execute(db);
  });
  const renew = async () => {
    await clock
      .settle()
      .catch((error: unknown) => log.warn({ err: error }, `the clock could not be looked at: ${messageOf(error)}`));
    try {
      // A process that slept past its lease comes back with it; what it lost meanwhile is guarded by `owner_id`.
      await db
        .insertInto('instances')
        .values({ id, runner_id: runnerId, lease_expires_at: leaseEnd })
        .onConflict((conflict) => conflict.column('id').doUpdateSet({ lease_expires_at: leaseEnd }))
        .execute();
      if (now() - renewedAt > GAP_MS) steadySince = now();
      renewedAt = now();
      await failpoint('lease.renewed');
    } catch (error) {
      log.warn({ err: error }, `the lease of this server could not be renewed: ${messageOf(error)}`);
    }
  };
  let renewing: Promise<void> | undefined;
  const timer = setInterval(() => {
    // A database that does not answer must not gather questions.
    renewing ??= renew().finally(() => {
      renewing = undefined;
    });
  }, RENEW_EVERY_MS);

  return {
    id,
    runnerId,
    async msToNextLeaseEnd() {
      const { rows } = await sql<{ ms: number | null }>`
        select extract(epoch from min(lease_expires_at) - now())::float8 * 1000 as ms
        from instances where id <> ${id} and lease_expires_at > now()`.execute(db);
      return rows[0]?.ms ?? undefined;
    },
    isSteady: () => now() - renewedAt <= GAP_MS && now() - steadySince >= LEASE_SECONDS * 1000,
    async close() {
      clearInterval(timer);
      await renewing;
      await db.deleteFrom('instances').where('id', '=', id).execute();
    },
  };
}

const leaseEnd = sql<Date>`now() + make_interval(secs => ${LEASE_SECONDS})`;

/** The runner's id, made at the first start and kept in the state directory. */
export async function readRunnerId(stateDir: string): Promise<string> {
  const file = {
    path: join(stateDir, 'runner-id'),
    what: 'a runner id',
    hint: 'Restore the file; sandboxes and snapshots of this machine are known by it.',
  };
  const known = await readIdFile(file);
  if (known !== undefined) return known;
  const id = randomUUID();
  await writeIdFile(file, id);
  return id;
}
