import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addOrganization, newSandbox, newSnapshot } from '../test-support/rows.ts';
import { startTestDatabase, type TestDatabase } from '../test-support/test-database.ts';
import { insertSandbox, insertSnapshot, moveRow } from './move.ts';
import { SANDBOX, SNAPSHOT } from './statements.ts';
import { SANDBOX_TABLE, SNAPSHOT_TABLE, type StateRule } from './tables.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await startTestDatabase({ maxConnections: 8 });
}, 60_000);
afterAll(() => database?.stop());

const complete = { layers: ['sha256:a'], image: '{}', size_bytes: 1 };
const kinds = {
  snapshot: {
    subject: SNAPSHOT,
    rules: SNAPSHOT_TABLE as Readonly<Record<string, StateRule<string>>>,
    add: async (organizationId: string) =>
      (await insertSnapshot(database.db, newSnapshot(organizationId, complete), { actor: 'test' })).id,
  },
  sandbox: {
    subject: SANDBOX,
    rules: SANDBOX_TABLE as Readonly<Record<string, StateRule<string>>>,
    add: async (organizationId: string) =>
      (await insertSandbox(database.db, newSandbox(organizationId), { actor: 'test' })).id,
  },
};

interface Step {
  row: number;
  from: string[];
  to: string;
  durable: boolean;
}

/** Mostly steps of the table, and some that are in no table: any set of states as `from`, any state as `to`. */
function stepOf(rules: Readonly<Record<string, StateRule<string>>>): fc.Arbitrary<Step> {
  const states = Object.keys(rules);
  const legal = states.flatMap((from) => (rules[from]?.to ?? []).map((to) => ({ from: [from], to })));
  const any = fc.record({
    from: fc.subarray(states, { minLength: 1, maxLength: 2 }),
    to: fc.constantFrom(...states),
  });
  const what = fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...legal) }, { weight: 1, arbitrary: any });
  return fc
    .record({ row: fc.nat({ max: 2 }), durable: fc.boolean(), what })
    .map(({ what, ...step }) => ({ ...step, ...what }));
}

test.each(['snapshot', 'sandbox'] as const)(
  'whatever is asked of a %s at the same time, the table holds, and events and counters are true',
  async (kindName) => {
    const { db } = database;
    const { subject, rules, add } = kinds[kindName];
    const steps = fc.array(stepOf(rules), { minLength: 150, maxLength: 250 });
    await fc.assert(
      fc.asyncProperty(steps, async (asked) => {
        await database.reset();
        const organizationId = await addOrganization(db);
        const ids = [await add(organizationId), await add(organizationId), await add(organizationId)];
        const moves = await Promise.all(
          asked.map(async ({ row, from, to, durable }) => {
            const id = ids[row];
            if (id === undefined) return undefined;
            const legal = from.every((state) => rules[state]?.to.includes(to));
            const move = moveRow<{ from_state: string }>(db, subject, rules, id, {
              ...{ from, to, durable },
              actor: 'test',
              reason: 'because',
            });
            if (!legal) {
              await expect(move).rejects.toThrow('cannot go from');
              return undefined;
            }
            const moved = await move;
            return moved === undefined ? undefined : { id, from: moved.from_state, to };
          }),
        );
        const done = moves.filter((move) => move !== undefined);
        for (const id of ids) {
          const events = await db.selectFrom('events').selectAll().where('subject_id', '=', id).orderBy('id').execute();
          const chain = events.map((event) => [event.from_state, event.to_state] as const);
          expect(chain[0]?.[0]).toBeNull();
          for (const [index, [from, to]] of chain.entries()) {
            if (index === 0) continue;
            expect(from).toBe(chain[index - 1]?.[1]);
            expect(rules[from ?? '']?.to).toContain(to);
          }
          const told = done.filter((move) => move.id === id).map((move) => `${move.from}→${move.to}`);
          expect(told.sort()).toEqual(
            chain
              .slice(1)
              .map(([from, to]) => `${from}→${to}`)
              .sort(),
          );
          const { rows } = await sql<{ state: string; deadline_at: Date | null }>`
            select state, deadline_at from ${sql.table(subject.table)} where id = ${id}`.execute(db);
          const last = chain.at(-1)?.[1] ?? '';
          expect(rows[0]?.state).toBe(last === 'gone' ? undefined : last);
          if (rows[0] !== undefined) expect(rows[0].deadline_at !== null).toBe(rules[last]?.kind === 'moving');
        }
        const counted = await db
          .selectFrom('state_counts')
          .select(['state', 'count'])
          .where('count', '<>', 0)
          .execute();
        const { rows: real } = await sql<{ state: string; count: number }>`
          select state, count(*) from ${sql.table(subject.table)} group by state`.execute(db);
        const byState = (a: { state: string }, b: { state: string }) => a.state.localeCompare(b.state);
        expect(counted.sort(byState)).toEqual(real.sort(byState));
      }),
      { numRuns: 6 },
    );
  },
  60_000,
);
