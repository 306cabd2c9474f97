import { SANDBOX_STATES, SNAPSHOT_STATES } from '@darkroom/contract';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SWEEP_MS } from './alarm.ts';
import { SANDBOX_TABLE, SNAPSHOT_TABLE, type StateRule } from './tables.ts';

const tables: [string, Readonly<Record<string, StateRule<string>>>, readonly string[]][] = [
  ['snapshots', SNAPSHOT_TABLE, [...SNAPSHOT_STATES, 'gone']],
  ['sandboxes', SANDBOX_TABLE, SANDBOX_STATES],
];

describe.each(tables)('the table of %s', (_name, table, states) => {
  const ruleOf = (state: string): StateRule<string> => {
    const rule = table[state];
    if (rule === undefined) throw new Error(`no rule for ${state}`);
    return rule;
  };

  test('has a rule for every state, and only leads to states that have one', () => {
    expect(Object.keys(table).sort()).toEqual([...states].sort());
    for (const rule of Object.values(table)) for (const next of rule.to) expect(table).toHaveProperty(next);
  });

  test('from every state, after any walk, time alone leads to a resting state', () => {
    const walk = fc.tuple(fc.constantFrom(...states), fc.array(fc.nat(), { maxLength: 20 }));
    fc.assert(
      fc.property(walk, ([start, choices]) => {
        let state = start;
        for (const choice of choices) state = ruleOf(state).to[choice % Math.max(1, ruleOf(state).to.length)] ?? state;
        for (let steps = 0; ; steps++) {
          const rule = ruleOf(state);
          if (rule.kind === 'resting') return;
          expect(rule.to).toContain(rule.onTimeout);
          expect(steps).toBeLessThan(states.length);
          state = rule.onTimeout;
        }
      }),
    );
  });

  test('every state can end: some way leads from it to the last one', () => {
    const last = states.filter((state) => ruleOf(state).to.length === 0);
    expect(last).toHaveLength(1);
    for (const start of states) {
      const reached = new Set([start]);
      for (const state of reached) for (const next of ruleOf(state).to) reached.add(next);
      expect(reached, start).toContain(last[0]);
    }
  });

  test('deadlines are further away than the safety sweep, so that none needs to be announced', () => {
    for (const rule of Object.values(table)) {
      if (rule.kind === 'moving') expect(rule.deadlineSeconds * 1000).toBeGreaterThan(SWEEP_MS);
    }
  });

  test('a missed deadline has a reason that is a sentence', () => {
    for (const rule of Object.values(table))
      if (rule.kind === 'moving') expect(rule.timeoutReason).toMatch(/^[A-Z].*\.$/);
  });
});

test('a snapshot may wait for its turn as long as the one before it may take', () => {
  expect(SNAPSHOT_TABLE.pending.deadlineSeconds).toBeGreaterThanOrEqual(SNAPSHOT_TABLE.pulling.deadlineSeconds);
});
