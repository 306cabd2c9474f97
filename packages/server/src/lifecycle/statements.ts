import { type RawBuilder, sql } from 'kysely';
import { STATE_CHANNEL } from '../platform/events.ts';
import type { StateRule } from './tables.ts';

export interface Subject {
  type: 'snapshot' | 'sandbox';
  table: 'snapshots' | 'sandboxes';
}

export const SNAPSHOT: Subject = { type: 'snapshot', table: 'snapshots' };
export const SANDBOX: Subject = { type: 'sandbox', table: 'sandboxes' };

export type Columns = Readonly<Record<string, unknown>>;

/** What must hold of the row for it to be changed. */
export interface Guard {
  id: string;
  from: readonly string[];
  /** Only while this instance owns it. */
  heldBy?: string | undefined;
  /** Only while nobody owns it; with `heldBy`, or this instance does. */
  unowned?: boolean | undefined;
  /** Only when its deadline has passed. */
  overdue?: boolean | undefined;
}

export interface Note {
  actor: string;
  reason: string | undefined;
  /** Whether the commit waits for the disk. */
  durable: boolean;
}

/** Columns that follow from a state alone: who works on it, since when and until when. */
export function stateColumns(state: string, rule: StateRule<string>, ownerId: string | undefined) {
  const moving = rule.kind === 'moving';
  return {
    state: sql`${state}`,
    state_entered_at: sql`clock_timestamp()`,
    updated_at: sql`clock_timestamp()`,
    deadline_at: moving ? sql`clock_timestamp() + make_interval(secs => ${rule.deadlineSeconds})` : sql`null`,
    owner_id: moving && ownerId !== undefined ? sql`${ownerId}::uuid` : sql`null`,
  };
}

const definedColumns = (columns: Columns) => Object.entries(columns).filter(([, value]) => value !== undefined);

function conditionOf(guard: Guard): RawBuilder<unknown> {
  const owners = [
    ...(guard.heldBy === undefined ? [] : [sql`owner_id = ${guard.heldBy}::uuid`]),
    ...(guard.unowned ? [sql`owner_id is null`] : []),
  ];
  const owned = owners.length === 0 ? sql`` : sql` and (${sql.join(owners, sql` or `)})`;
  const overdue = guard.overdue ? sql` and deadline_at <= clock_timestamp()` : sql``;
  return sql`id = ${guard.id}::uuid and state = any(${[...guard.from]}::text[])${owned}${overdue}`;
}

/**
 * Each change is one statement, so that it is one round trip and never half done: the guarded change itself, its event, and
 * the message to those who wait. `changed` gives the row and `from_state`.
 */
export function updateStatement<Row>(subject: Subject, guard: Guard, columns: Columns, note: Note): RawBuilder<Row> {
  const assignments = definedColumns(columns).map(([name, value]) => sql`${sql.ref(name)} = ${value}`);
  const table = sql.table(subject.table);
  // Locked first, and the guard asked again after a wait for another change: that is what makes `from_state` true.
  return withEvent(
    subject,
    sql`update ${table} as t set ${sql.join(assignments)}
      from (select id, state as from_state from ${table}
            where ${conditionOf(guard)} for update) before
      where t.id = before.id returning t.*, before.from_state`,
    sql`state`,
    note,
  );
}

export function deleteStatement<Row>(subject: Subject, guard: Guard & { to: string }, note: Note): RawBuilder<Row> {
  return withEvent(
    subject,
    sql`delete from ${sql.table(subject.table)}
      where ${conditionOf(guard)} returning *, state as from_state`,
    sql`${guard.to}::text`,
    note,
  );
}

/** All rows have the same columns. */
export function insertStatement<Row>(subject: Subject, rows: readonly Columns[], note: Note): RawBuilder<Row> {
  const defined = definedColumns(rows[0] ?? {}).map(([name]) => name);
  const names = sql.join(defined.map((name) => sql.ref(name)));
  const values = rows.map((row) => sql`(${sql.join(defined.map((name) => sql`${row[name]}`))})`);
  return withEvent(
    subject,
    sql`insert into ${sql.table(subject.table)} (${names}) values ${sql.join(values)} returning *, null::text as from_state`,
    sql`state`,
    note,
  );
}

function withEvent<Row>(
  subject: Subject,
  change: RawBuilder<unknown>,
  toState: RawBuilder<unknown>,
  note: Note,
): RawBuilder<Row> {
  const type = sql.lit(subject.type);
  // A commit that nobody was told of yet may be lost with the machine's power; it costs no wait for the disk.
  const setting = note.durable ? sql`` : sql`, setting as (select set_config('synchronous_commit', 'off', true))`;
  const used = note.durable ? sql`` : sql`, setting`;
  return sql<Row>`with changed as (${change}),
    logged as (
      insert into events (organization_id, subject_type, subject_id, subject_name, from_state, to_state, actor, reason)
      select organization_id, ${type}, id, name, from_state, ${toState}, ${note.actor}, ${note.reason ?? null} from changed),
    told as (
      select pg_notify(${STATE_CHANNEL},
        json_build_array(${type}, id, organization_id, from_state, ${toState})::text) from changed)${setting}
    select changed.* from changed, (select count(*) from told) as all_told${used}`;
}
