import { sql } from 'kysely';
import { moveRow } from '../../lifecycle/move.ts';
import { SANDBOX, SNAPSHOT, type Subject } from '../../lifecycle/statements.ts';
import { SANDBOX_TABLE, SNAPSHOT_TABLE, type StateRule } from '../../lifecycle/tables.ts';
import { FSCK } from '../actor.ts';
import type { Check, Finding, Scene } from '../types.ts';

interface Odd {
  id: string;
  name: string;
  state: string;
  deadline: Date | null;
  owner: string | null;
  overdue: boolean;
}

const KINDS: readonly {
  subject: Subject;
  rules: Readonly<Record<string, StateRule<string>>>;
}[] = [
  { subject: SNAPSHOT, rules: SNAPSHOT_TABLE },
  { subject: SANDBOX, rules: SANDBOX_TABLE },
];

type Moving = StateRule<string> & { kind: 'moving' };

/** Every moving state has a deadline that has not passed for long, and no resting one has a deadline or an owner. */
export const states: Check = {
  name: 'states',
  title: 'states and their deadlines',
  async *find(scene) {
    for (const { subject, rules } of KINDS) {
      const { type, table } = subject;
      const moving = Object.keys(rules).filter((state) => rules[state]?.kind === 'moving');
      const { rows } = await sql<Odd>`
        select id, name, state, deadline_at as deadline, owner_id as owner,
          coalesce(deadline_at < clock_timestamp() - interval '2 minutes', false) as overdue
        from ${sql.table(table)}
        where (state = any(${moving}) and (deadline_at is null or deadline_at < clock_timestamp() - interval '2 minutes'))
          or (state <> all(${moving}) and (deadline_at is not null or owner_id is not null))
          or state <> all(${Object.keys(rules)})`.execute(scene.db);
      for (const row of rows) {
        const rule = rules[row.state];
        const found = { id: row.id, where: `${type} ${row.name}` };
        if (rule === undefined) {
          const problem = `its state is ${row.state}, which there is not. Look at its events, and delete it`;
          yield { kind: 'state-unknown', ...found, problem } satisfies Finding;
        } else if (rule.kind === 'resting') {
          yield {
            kind: 'state-not-resting',
            ...found,
            problem: `it is ${row.state}, where nothing is under way, and has ${row.owner === null ? 'a deadline' : 'an owner'}`,
            repair: { does: 'take that away', run: () => rest(scene, table, row) },
          } satisfies Finding;
        } else if (row.overdue) {
          // Without a server nobody has looked.
          if (scene.offline) continue;
          const problem = `it is ${row.state}, and its deadline passed at ${row.deadline?.toISOString()}`;
          yield {
            kind: 'state-overdue',
            ...found,
            problem,
            repair: { does: `end it as ${rule.onTimeout}`, run: () => end(scene, subject, rules, rule, row) },
          } satisfies Finding;
        } else {
          yield {
            kind: 'state-without-deadline',
            ...found,
            problem: `it is ${row.state} and has no deadline: nothing would ever end it`,
            repair: { does: 'give it one, from now on', run: () => giveDeadline(scene, table, row, rule) },
          } satisfies Finding;
        }
      }
    }
  },
};

async function rest({ db }: Scene, table: string, { id, state }: Odd): Promise<string | undefined> {
  const done = await sql`update ${sql.table(table)} set deadline_at = null, owner_id = null
    where id = ${id} and state = ${state}`.execute(db);
  return done.numAffectedRows === 0n ? undefined : 'taken away';
}

async function giveDeadline(
  { db }: Scene,
  table: string,
  { id, state }: Odd,
  rule: Moving,
): Promise<string | undefined> {
  const done = await sql<{ at: Date }>`update ${sql.table(table)}
    set deadline_at = clock_timestamp() + make_interval(secs => ${rule.deadlineSeconds})
    where id = ${id} and state = ${state} and deadline_at is null returning deadline_at as at`.execute(db);
  const [row] = done.rows;
  return row && `its deadline is ${row.at.toISOString()}`;
}

async function end(
  { db }: Scene,
  subject: Subject,
  rules: (typeof KINDS)[number]['rules'],
  rule: Moving,
  { id, state }: Odd,
): Promise<string | undefined> {
  const moved = await moveRow(db, subject, rules, id, {
    from: [state],
    to: rule.onTimeout,
    actor: FSCK,
    overdue: true,
    reason: rule.timeoutReason,
    errorCode: 'timeout',
  });
  return moved === undefined ? undefined : `it is ${rule.onTimeout}`;
}
