import type { ErrorCode, SandboxState, SnapshotState } from '@darkroom/contract';
import type { Insertable, Kysely, Selectable, Updateable } from 'kysely';
import type { Database, SandboxTable, SnapshotTable } from '../platform/db/schema.ts';
import { DarkroomError } from '../platform/errors.ts';
import { failpoint } from '../platform/failpoints.ts';
import {
  type Columns,
  deleteStatement,
  insertStatement,
  SANDBOX,
  SNAPSHOT,
  type Subject,
  stateColumns,
  updateStatement,
} from './statements.ts';
import { SANDBOX_TABLE, SNAPSHOT_TABLE, type SnapshotStep, type StateRule, type StepsBefore } from './tables.ts';

export type SnapshotRow = Selectable<SnapshotTable>;
export type SandboxRow = Selectable<SandboxTable>;

/** The row after a change, and the state that it came from. */
export type Moved<Row, State> = Row & { from_state: State };

type StateColumns =
  | 'state'
  | 'state_entered_at'
  | 'deadline_at'
  | 'owner_id'
  | 'error_reason'
  | 'error_code'
  | 'updated_at';

interface Change {
  /** Who wants it: `user:ID`, `system`, `job:snapshot.pull`. */
  actor: string;
  /** The server instance that works on a moving state. */
  ownerId?: string;
  /** Only while this instance owns it: it may have been given to another when this one was thought dead. */
  heldBy?: string;
  /** Only while nobody owns it; with `heldBy`, or this instance does. */
  unowned?: boolean;
  /** `false` where nobody is told of the change before a later, durable one: the commit does not wait for the disk. */
  durable?: boolean;
}

/** A failed state cannot be entered without a reason that a person can act on. */
type Why<To> = To extends 'error' | 'build_failed' ? { reason: string; errorCode?: ErrorCode } : { reason?: string };

export type SnapshotMove<To extends SnapshotStep> = Change &
  Why<To> & {
    from: readonly StepsBefore<typeof SNAPSHOT_TABLE, To>[];
    to: To;
    set?: Omit<Updateable<SnapshotTable>, StateColumns | 'id'>;
  };

export type SandboxMove<To extends SandboxState> = Change &
  Why<To> & {
    from: readonly StepsBefore<typeof SANDBOX_TABLE, To>[];
    to: To;
    set?: Omit<Updateable<SandboxTable>, StateColumns | 'id'>;
  };

export type NewSnapshot = Omit<Insertable<SnapshotTable>, StateColumns> & {
  state: 'pending' | 'building' | 'snapshotting' | 'active';
};
export type NewSandbox = Omit<Insertable<SandboxTable>, StateColumns> & { state: 'creating' | 'pending_build' };

/** A new snapshot in its first state. A unique violation is left to the caller, who knows what the name means. */
export function insertSnapshot(db: Kysely<Database>, values: NewSnapshot, change: Change): Promise<SnapshotRow> {
  return insert<SnapshotRow>(db, SNAPSHOT, SNAPSHOT_TABLE, values, change);
}

export function insertSandbox(db: Kysely<Database>, values: NewSandbox, change: Change): Promise<SandboxRow> {
  return insert<SandboxRow>(db, SANDBOX, SANDBOX_TABLE, values, change);
}

/** Statements of two lengths alone, so that both stay prepared. */
const INSERTED_TOGETHER = 16;

/** Several new sandboxes, which have the same columns, in their order; within a transaction all or none. */
export async function insertSandboxes(
  db: Kysely<Database>,
  all: readonly NewSandbox[],
  change: Change,
): Promise<SandboxRow[]> {
  const rows = new Map<unknown, SandboxRow>();
  for (let at = 0; at < all.length; ) {
    const count = all.length - at >= INSERTED_TOGETHER ? INSERTED_TOGETHER : 1;
    const some = all.slice(at, at + count);
    for (const row of await insertAll<SandboxRow>(db, SANDBOX, SANDBOX_TABLE, some, change)) rows.set(row.id, row);
    at += count;
  }
  return all.flatMap(({ id }) => rows.get(id) ?? []);
}

/**
 * Moves a snapshot if it is in one of the `from` states; else undefined, and nothing changed. `to: 'gone'` deletes the
 * row and gives it a last time.
 */
export function moveSnapshot<const To extends SnapshotStep>(
  db: Kysely<Database>,
  id: string,
  move: SnapshotMove<To>,
): Promise<Moved<SnapshotRow, SnapshotState> | undefined> {
  return moveRow<Moved<SnapshotRow, SnapshotState>>(db, SNAPSHOT, SNAPSHOT_TABLE, id, move);
}

/** Moves a sandbox if it is in one of the `from` states; else undefined, and nothing changed. */
export function moveSandbox<const To extends SandboxState>(
  db: Kysely<Database>,
  id: string,
  move: SandboxMove<To>,
): Promise<Moved<SandboxRow, SandboxState> | undefined> {
  return moveRow<Moved<SandboxRow, SandboxState>>(db, SANDBOX, SANDBOX_TABLE, id, move);
}

type Rules = Readonly<Record<string, StateRule<string>>>;

/** A move whose states are known only at run time, such as a missed deadline. The table is checked all the same. */
export interface AnyMove extends Change {
  from: readonly string[];
  to: string;
  reason?: string;
  errorCode?: ErrorCode;
  set?: Columns;
  /** Only when its deadline has passed. */
  overdue?: boolean;
}

export async function moveRow<Row>(
  db: Kysely<Database>,
  subject: Subject,
  rules: Rules,
  id: string,
  move: AnyMove,
): Promise<Row | undefined> {
  const rule = ruleOf(subject, rules, move.to);
  for (const from of move.from) {
    if (!ruleOf(subject, rules, from).to.includes(move.to)) {
      throw new DarkroomError('internal', `a ${subject.type} cannot go from ${from} to ${move.to}`);
    }
  }
  const failed = isFailed(move.to);
  await failpoint('move.asked');
  if (failed && !move.reason) throw new DarkroomError('internal', `${subject.type} ${id}: ${move.to} needs a reason`);
  const note = { actor: move.actor, reason: move.reason, durable: move.durable ?? true };
  const { heldBy, unowned, overdue } = move;
  const guard = { id, from: move.from, heldBy, unowned, overdue };
  if (move.to === 'gone') {
    const statement = deleteStatement<Row>(subject, { ...guard, to: move.to }, note);
    const [gone] = (await statement.execute(db)).rows;
    await failpoint('move.written');
    return gone;
  }
  const columns = {
    ...move.set,
    ...stateColumns(move.to, rule, move.ownerId),
    error_reason: failed ? move.reason : null,
    error_code: failed ? (move.errorCode ?? 'internal') : null,
  };
  const [moved] = (await updateStatement<Row>(subject, guard, columns, note).execute(db)).rows;
  await failpoint('move.written');
  return moved;
}

async function insert<Row>(
  db: Kysely<Database>,
  subject: Subject,
  rules: Rules,
  values: { state: string },
  change: Change,
): Promise<Row> {
  const [row] = await insertAll<Row>(db, subject, rules, [values], change);
  if (row === undefined) throw new DarkroomError('internal', `the new ${subject.type} was not written`);
  return row;
}

async function insertAll<Row>(
  db: Kysely<Database>,
  subject: Subject,
  rules: Rules,
  all: readonly { state: string }[],
  change: Change,
): Promise<Row[]> {
  const columns = all.map((values) => ({
    ...values,
    ...stateColumns(values.state, ruleOf(subject, rules, values.state), change.ownerId),
  }));
  const note = { actor: change.actor, reason: undefined, durable: change.durable ?? true };
  return (await insertStatement<Row>(subject, columns, note).execute(db)).rows;
}

function ruleOf(subject: Subject, rules: Rules, state: string): StateRule<string> {
  const rule = rules[state];
  if (rule === undefined) throw new DarkroomError('internal', `a ${subject.type} has no state ${state}`);
  return rule;
}

const isFailed = (state: string) => state === 'error' || state === 'build_failed';
