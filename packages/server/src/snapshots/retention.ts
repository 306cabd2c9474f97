import { type Kysely, type RawBuilder, sql } from 'kysely';
import { type RunningAlarm, startAlarm } from '../lifecycle/alarm.ts';
import { moveSnapshot } from '../lifecycle/move.ts';
import type { Database } from '../platform/db/schema.ts';
import type { JobQueue } from '../platform/jobs.ts';
import type { Log } from '../platform/log.ts';
import { takeAway } from './delete.ts';

export interface RetentionDeps {
  db: Kysely<Database>;
  jobs: Pick<JobQueue, 'enqueue' | 'cancel'>;
  log: Pick<Log, 'info' | 'error'>;
}

const UNUSED_PERIOD_MS = 10 * 60_000;
const BATCH = 100;

/** What is not used for long becomes inactive, and what has expired is deleted. A lock keeps both away. */
export function startRetention(deps: RetentionDeps): RunningAlarm {
  let unusedAt = Number.NEGATIVE_INFINITY;
  return startAlarm(
    {
      name: 'retention of snapshots',
      async next() {
        const unused = unusedAt + UNUSED_PERIOD_MS - performance.now();
        return Math.min(unused, (await msToNextExpiry(deps.db)) ?? unused);
      },
      async run() {
        await endExpired(deps);
        if (performance.now() < unusedAt + UNUSED_PERIOD_MS) return;
        unusedAt = performance.now();
        await deactivateUnused(deps);
      },
    },
    deps.log,
  );
}

/** One that is newer, of the very same image, keeps it: its layers are in use in any case. */
const isUnused: RawBuilder<boolean> = sql`s.state = 'active' and not s.general and not s.retain
  and o.snapshot_deactivation_timeout_minutes > 0
  and greatest(s.created_at, s.last_used_at) < now() - make_interval(mins => o.snapshot_deactivation_timeout_minutes)
  and not exists (
    select from snapshots same where same.organization_id = s.organization_id and same.id <> s.id and same.ref = s.ref
      and same.state = 'active'
      and greatest(same.created_at, same.last_used_at) >=
        now() - make_interval(mins => o.snapshot_deactivation_timeout_minutes))`;

/** Returns how many became inactive; at most a hundred at a time. */
export async function deactivateUnused({ db, log }: RetentionDeps): Promise<number> {
  const { rows } = await sql<{ id: string; minutes: number }>`
    select s.id, o.snapshot_deactivation_timeout_minutes as minutes
    from snapshots s join organizations o on o.id = s.organization_id
    where ${isUnused} limit ${BATCH}`.execute(db);
  let count = 0;
  for (const { id, minutes } of rows) {
    const moved = await db.transaction().execute(async (trx) => {
      // Asked again with the row in hand: it may have been used, or locked, since.
      const still = await sql`select from snapshots s join organizations o on o.id = s.organization_id
        where s.id = ${id} and ${isUnused} for no key update of s`.execute(trx);
      if (still.rows.length === 0) return undefined;
      const reason = `Not used for ${timeText(minutes)}`;
      return moveSnapshot(trx, id, { from: ['active'], to: 'inactive', actor: 'system:retention', reason });
    });
    if (moved === undefined) continue;
    count++;
    log.info({ snapshot: id }, 'a snapshot that nobody uses became inactive');
  }
  return count;
}

const EXPIRED = sql`expires_at is not null and not retain and not general and state <> 'removing'`;

/** Deletes what has expired, as a person would. */
export async function endExpired(deps: RetentionDeps): Promise<number> {
  const { rows } = await sql<{ id: string }>`
    select id from snapshots where ${EXPIRED} and expires_at <= now() order by expires_at limit ${BATCH}`.execute(
    deps.db,
  );
  let count = 0;
  for (const { id } of rows) {
    const isGone = await takeAway(deps, id, { actor: 'system:retention', reason: 'It expired', isExpired: true });
    if (!isGone) continue;
    count++;
    deps.log.info({ snapshot: id }, 'a snapshot expired');
  }
  return count;
}

async function msToNextExpiry(db: Kysely<Database>): Promise<number | undefined> {
  const { rows } = await sql<{ ms: number | null }>`
    select extract(epoch from min(expires_at) - now())::float8 * 1000 as ms from snapshots where ${EXPIRED}`.execute(
    db,
  );
  return rows[0]?.ms ?? undefined;
}

function timeText(minutes: number): string {
  const [size, unit] = minutes % 1440 === 0 ? [minutes / 1440, 'day'] : [minutes, 'minute'];
  return `${size} ${unit}${size === 1 ? '' : 's'}`;
}
