import { sql } from 'kysely';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createClockWatch } from '../platform/clock-watch.ts';
import { addOrganization, newSandbox, newSnapshot } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { insertSandbox, insertSnapshot, moveRow } from './move.ts';
import { SANDBOX, SNAPSHOT, type Subject } from './statements.ts';
import { SANDBOX_TABLE, SNAPSHOT_TABLE, type StateRule } from './tables.ts';
import { endOverdue } from './watch.ts';

/** Each line of the tables, on real rows. Builds live in the states of what they are for, and captures are snapshots that are `snapshotting`. */
let database: TestDatabase;
let organizationId: string;
beforeAll(async () => {
  database = await startTestDatabase();
}, 60_000);
afterAll(() => database?.stop());
beforeEach(async () => {
  await database.reset();
  organizationId = await addOrganization(database.db);
});

type Rules = Readonly<Record<string, StateRule<string>>>;
const complete = { layers: ['sha256:a'], image: '{}', size_bytes: 1 };
const tables: { name: string; subject: Subject; rules: Rules; add(): Promise<string> }[] = [
  {
    name: 'snapshots',
    subject: SNAPSHOT,
    rules: SNAPSHOT_TABLE,
    add: async () => (await insertSnapshot(database.db, newSnapshot(organizationId, complete), { actor: 'test' })).id,
  },
  {
    name: 'sandboxes',
    subject: SANDBOX,
    rules: SANDBOX_TABLE,
    add: async () => (await insertSandbox(database.db, newSandbox(organizationId), { actor: 'test' })).id,
  },
];
const log = { info() {}, warn() {}, error() {} };
const OWNER = '11111111-1111-4111-8111-111111111111';

describe.each(tables)('the table of $name', ({ subject, rules, add }) => {
  const table = sql.table(subject.table);
  /** A row in a state, however it came there. */
  async function rowIn(state: string): Promise<string> {
    const id = await add();
    const failed = state === 'error' || state === 'build_failed' ? 'broken before' : null;
    await sql`update ${table} set state = ${state}, error_reason = ${failed}, deadline_at = null, owner_id = null
      where id = ${id}`.execute(database.db);
    return id;
  }
  const lastEvent = (id: string) =>
    database.db.selectFrom('events').selectAll().where('subject_id', '=', id).orderBy('id', 'desc').executeTakeFirst();
  const read = async (id: string) =>
    (
      await sql<{ state: string; error_reason: string | null; owner_id: string | null; seconds: number | null }>`
        select state, error_reason, owner_id, extract(epoch from deadline_at - state_entered_at)::float8 as seconds
        from ${table} where id = ${id}`.execute(database.db)
    ).rows[0];

  test('each step writes who, why and when, and gives the new state its owner and its deadline', async () => {
    for (const [from, rule] of Object.entries(rules)) {
      for (const to of rule.to) {
        const step = `${from} → ${to}`;
        const id = await rowIn(from);
        const move = { from: [from], to, actor: 'key:1', ownerId: OWNER, reason: 'because' };
        expect(await moveRow(database.db, subject, rules, id, move), step).toMatchObject({ from_state: from });
        expect(await lastEvent(id), step).toMatchObject({
          ...{ subject_type: subject.type, organization_id: organizationId, from_state: from, to_state: to },
          ...{ actor: 'key:1', reason: 'because', at: expect.any(Date) },
        });
        const next = rules[to];
        const row = await read(id);
        if (to === 'gone') expect(row, step).toBeUndefined();
        else if (next?.kind === 'moving') {
          expect(row, step).toMatchObject({ state: to, owner_id: OWNER });
          expect(row?.seconds, step).toBeCloseTo(next.deadlineSeconds, 0);
        } else expect(row, step).toMatchObject({ state: to, owner_id: null, seconds: null });
      }
    }
  }, 60_000);

  test('each moving state that misses its deadline ends, with the reason of the table in the row and in the event', async () => {
    for (const [state, rule] of Object.entries(rules)) {
      if (rule.kind !== 'moving') continue;
      const id = await rowIn(state);
      await sql`update ${table} set deadline_at = now() - interval '1 second' where id = ${id}`.execute(database.db);
      await endOverdue({ db: database.db, log, clock: createClockWatch(database.db, log) });
      expect(await lastEvent(id), state).toMatchObject({
        ...{ from_state: state, to_state: rule.onTimeout },
        ...{ actor: 'system:deadline', reason: rule.timeoutReason },
      });
      const row = await read(id);
      if (rule.onTimeout === 'gone') expect(row, state).toBeUndefined();
      else expect(row, state).toMatchObject({ state: rule.onTimeout, owner_id: null, seconds: null });
      if (rule.onTimeout === 'error' || rule.onTimeout === 'build_failed')
        expect(row?.error_reason, state).toBe(rule.timeoutReason);
    }
  }, 60_000);

  test('no other step is possible', async () => {
    for (const [from, rule] of Object.entries(rules)) {
      const id = await rowIn(from);
      for (const to of Object.keys(rules)) {
        if (rule.to.includes(to)) continue;
        const move = moveRow(database.db, subject, rules, id, { from: [from], to, actor: 'key:1', reason: 'because' });
        await expect(move, `${from} → ${to}`).rejects.toThrow('cannot go from');
      }
      await sql`delete from ${table} where id = ${id}`.execute(database.db);
    }
  }, 60_000);
});
