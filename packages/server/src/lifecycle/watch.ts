import { type Kysely, sql } from 'kysely';
import type { BaseLogger } from 'pino';
import type { ClockWatch } from '../platform/clock-watch.ts';
import type { Database } from '../platform/db/schema.ts';
import type { Instance } from '../platform/instance.ts';
import { type RunningAlarm, startAlarm } from './alarm.ts';
import { moveRow } from './move.ts';
import { renewDeadlines } from './renew-deadlines.ts';
import { SANDBOX, SNAPSHOT, type Subject } from './statements.ts';
import { SANDBOX_TABLE, SNAPSHOT_TABLE, type StateRule } from './tables.ts';

/** A row in a moving state that nobody works on any more. */
export interface Orphan {
  subjectType: 'snapshot' | 'sandbox';
  id: string;
  organizationId: string;
  state: string;
  ownerId: string;
}

export interface WatchOptions {
  db: Kysely<Database>;
  instance: Pick<Instance, 'id' | 'isSteady' | 'msToNextLeaseEnd'>;
  clock: ClockWatch;
  log: Pick<BaseLogger, 'info' | 'error'>;
  /**
   * Asked for each row whose owner died. True: the work is taken up again (the row has a new owner or state). False: it
   * goes where a missed deadline would take it.
   */
  takeUp(orphan: Orphan): Promise<boolean>;
}

const BATCH = 200;
/** The name of a snapshot is taken also where it failed. */
const TRY_AGAIN = { snapshot: 'Delete it, and try again.', sandbox: 'Try again.' } as const;
const KINDS: readonly { subject: Subject; rules: Readonly<Record<string, StateRule<string>>> }[] = [
  { subject: SNAPSHOT, rules: SNAPSHOT_TABLE },
  { subject: SANDBOX, rules: SANDBOX_TABLE },
];

/** Watches over deadlines and over owners' leases, so that no moving state lasts. */
export function startWatch(options: WatchOptions): RunningAlarm {
  const { db, log, clock } = options;
  clock.onJump(() => renewDeadlines(db));
  const alarms = [
    startAlarm({ name: 'deadlines', next: () => msToNextDeadline(db), run: () => endOverdue(options) }, log),
    startAlarm({ name: 'owners', next: () => msToNextOrphan(options), run: () => endOrphans(options) }, log),
  ];
  return {
    wake: () => {
      for (const alarm of alarms) alarm.wake();
    },
    close: async () => {
      await Promise.all(alarms.map((alarm) => alarm.close()));
    },
  };
}

async function msToNextDeadline(db: Kysely<Database>): Promise<number | undefined> {
  const { rows } = await sql<{ ms: number | null }>`
    select extract(epoch from least(
      (select min(deadline_at) from snapshots where deadline_at is not null),
      (select min(deadline_at) from sandboxes where deadline_at is not null)) - clock_timestamp())::float8 * 1000 as ms`.execute(
    db,
  );
  return rows[0]?.ms ?? undefined;
}

/** Moves what is past its deadline to where the table says. */
export async function endOverdue({ db, log, clock }: Pick<WatchOptions, 'db' | 'log' | 'clock'>): Promise<void> {
  await clock.settle();
  for (const { subject, rules } of KINDS) {
    const { rows } = await sql<{ id: string; state: string }>`
      select id, state from ${sql.table(subject.table)} where deadline_at <= clock_timestamp()
      order by deadline_at limit ${BATCH}`.execute(db);
    for (const row of rows) {
      try {
        await endOne(db, log, subject, rules, row);
      } catch (error) {
        // One that cannot be moved must not keep the others.
        log.error({ err: error, [subject.type]: row.id }, 'a missed deadline could not be acted on');
      }
    }
  }
}

async function endOne(
  db: Kysely<Database>,
  log: Pick<BaseLogger, 'info'>,
  subject: Subject,
  rules: Readonly<Record<string, StateRule<string>>>,
  row: { id: string; state: string },
): Promise<void> {
  const rule = rules[row.state];
  if (rule?.kind !== 'moving') return;
  const moved = await moveRow(db, subject, rules, row.id, {
    from: [row.state],
    to: rule.onTimeout,
    actor: 'system:deadline',
    overdue: true,
    reason: rule.timeoutReason,
    errorCode: 'timeout',
  });
  if (moved === undefined) return;
  log.info({ [subject.type]: row.id, from: row.state, to: rule.onTimeout }, 'a deadline has passed');
}

/** Every row in a moving state whose owner's lease is over. Rows without an owner wait for one, until their deadline. */
export async function listOrphans({ db, instance }: Pick<WatchOptions, 'db' | 'instance'>): Promise<Orphan[]> {
  const isSteady = instance.isSteady();
  const found = await Promise.all(
    KINDS.map(({ subject }) =>
      sql<Orphan>`select ${sql.lit(subject.type)} as "subjectType", id, organization_id as "organizationId", state,
          owner_id as "ownerId"
        from ${sql.table(subject.table)} t
        where owner_id is not null and deadline_at is not null
          and owner_id <> ${instance.id} and not exists (
            select from instances i where i.id = t.owner_id and (i.lease_expires_at > now() or ${!isSteady}))
        order by deadline_at limit ${BATCH}`.execute(db),
    ),
  );
  return found.flatMap((result) => result.rows);
}

async function msToNextOrphan(options: WatchOptions): Promise<number | undefined> {
  return (await listOrphans(options)).length > 0 ? 0 : options.instance.msToNextLeaseEnd();
}

async function endOrphans(options: WatchOptions): Promise<void> {
  const { db, log, clock, takeUp } = options;
  await clock.settle();
  for (const orphan of await listOrphans(options)) {
    try {
      if (await takeUp(orphan)) continue;
      await endOrphan(db, orphan);
      log.info(orphan, 'its server ended before it was done');
    } catch (error) {
      log.error({ err: error, ...orphan }, 'what a dead server left could not be taken up');
    }
  }
}

async function endOrphan(db: Kysely<Database>, orphan: Orphan): Promise<void> {
  const kind = KINDS.find(({ subject }) => subject.type === orphan.subjectType);
  const rule = kind?.rules[orphan.state];
  if (kind === undefined || rule?.kind !== 'moving') return;
  await moveRow(db, kind.subject, kind.rules, orphan.id, {
    from: [orphan.state],
    to: rule.onTimeout,
    actor: 'system:owner-died',
    heldBy: orphan.ownerId,
    reason: `The server that worked on it ended while it was ${orphan.state}. ${TRY_AGAIN[orphan.subjectType]}`,
    errorCode: 'unavailable',
  });
}
