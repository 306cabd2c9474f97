import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { addOrganization } from '../../test-support/rows.ts';
import { BuildFailure, type FailureClass } from '../failure.ts';
import type { OpenStepCache } from './create-step-cache.ts';
import type { StepEvent, StepResult } from './step-cache.ts';
import { type Asked, type CacheLab, type Execute, startCacheLab } from './testing/cache-lab.ts';

let lab: CacheLab;
let cache: OpenStepCache;
beforeAll(async () => {
  lab = await startCacheLab();
}, 60_000);
afterAll(() => lab.stop());
beforeEach(async () => {
  await lab.reset();
  cache = lab.open();
});

/** A step that goes on until the test ends it. */
function held(): Held {
  const started = Promise.withResolvers<void>();
  const outcome = Promise.withResolvers<StepResult>();
  const state: Held = {
    runs: 0,
    started: started.promise,
    report: () => {},
    signal: undefined,
    execute(signal, report) {
      state.runs++;
      state.report = report;
      state.signal = signal;
      signal.addEventListener('abort', () => outcome.reject(signal.reason));
      started.resolve();
      return outcome.promise;
    },
    end: outcome.resolve,
    fail: outcome.reject,
  };
  return state;
}

interface Held {
  runs: number;
  started: Promise<void>;
  report(event: StepEvent): void;
  signal: AbortSignal | undefined;
  execute: Execute;
  end(result: StepResult): void;
  fail(error: Error): void;
}

const output = (text: string): StepEvent => ({ kind: 'output', stream: 'stdout', bytes: Buffer.from(text) });
const texts = (events: readonly StepEvent[]) =>
  events.map((event) => (event.kind === 'output' ? Buffer.from(event.bytes).toString() : event.text));

function failure(kind: FailureClass, exitCode: number | undefined): BuildFailure {
  const step = { number: 1, line: 1, text: 'RUN it', command: 'it', exitCode };
  return new BuildFailure('it failed', { class: kind, code: 'invalid_request', retryable: false, step });
}

/** Until the request follows a run. */
async function joined(uses: readonly unknown[]): Promise<void> {
  await expect.poll(() => uses.length, { interval: 5 }).toBe(1);
}

it('runs a step once for all builds that ask for it at the same time', async () => {
  let runs = 0;
  const execute: Execute = async (signal, report) => {
    runs++;
    return lab.makes()(signal, report);
  };
  const asked = Array.from({ length: 12 }, (_, index) => lab.ask(cache, { buildId: `build ${index}` }, execute));
  const results = await Promise.all(asked.map(({ result }) => result));
  expect(runs).toBe(1);
  expect(new Set(results.map(({ layer }) => layer?.diffId)).size).toBe(1);
  const kinds = asked.map(({ uses }) => uses.map(({ kind }) => kind).join());
  expect(kinds.filter((kind) => kind === 'miss')).toHaveLength(1);
});

it('does not share between organizations or keys', async () => {
  const step = held();
  const first = lab.ask(cache, {}, step.execute);
  await step.started;
  const other = lab.ask(cache, { parts: { a: '1' } }, lab.makes());
  await other.result;
  const elsewhere = lab.ask(cache, { organizationId: await addOrganization(lab.database.db) }, lab.makes());
  await elsewhere.result;
  expect([...other.uses, ...elsewhere.uses].map(({ kind }) => kind)).toEqual(['miss', 'miss']);
  step.end({ layer: undefined });
  await first.result;
});

it('tells who joins later all from the beginning, and what comes then', async () => {
  const step = held();
  const first = lab.ask(cache, {}, step.execute);
  await step.started;
  step.report(output('one'));
  const second = lab.ask(cache, { buildId: 'two' }, step.execute);
  await joined(second.uses);
  step.report({ kind: 'note', text: 'two' });
  step.end({ layer: undefined });
  await Promise.all([first.result, second.result]);
  expect(second.uses).toEqual([{ kind: 'shared' }]);
  expect([texts(first.events), texts(second.events)]).toEqual([
    ['one', 'two'],
    ['one', 'two'],
  ]);
});

it('goes on for the others when the build that began it is cancelled, which is answered at once', async () => {
  const step = held();
  const first = lab.ask(cache, {}, step.execute);
  await step.started;
  const second = lab.ask(cache, { buildId: 'two' }, step.execute);
  await joined(second.uses);
  first.abort(new Error('cancelled'));
  await expect(first.result).rejects.toThrow('cancelled');
  expect(step.signal?.aborted).toBe(false);
  step.end({ layer: undefined });
  expect(await second.result).toEqual({ layer: undefined });
  expect(step.runs).toBe(1);
});

it('ends when nobody waits any more; who comes then begins anew', async () => {
  const step = held();
  const first = lab.ask(cache, {}, step.execute);
  await step.started;
  const second = lab.ask(cache, { buildId: 'two' }, step.execute);
  await joined(second.uses);
  second.abort(new Error('second'));
  await expect(second.result).rejects.toThrow('second');
  const third = Promise.withResolvers<Asked>();
  step.signal?.addEventListener('abort', () => third.resolve(lab.ask(cache, { buildId: 'three' }, lab.makes())));
  first.abort(new Error('first'));
  await expect(first.result).rejects.toThrow('first');
  const { uses, result } = await third.promise;
  await result;
  expect(uses).toEqual([{ kind: 'miss', why: 'first time' }]);
});

it('is begun again by another build when it failed because of the one that began it', async () => {
  const step = held();
  const first = lab.ask(cache, {}, step.execute);
  await step.started;
  const others = ['two', 'three'].map((buildId) => lab.ask(cache, { buildId }, lab.makes()));
  for (const { uses } of others) await joined(uses);
  step.fail(failure('limit_exceeded', 137));
  await expect(first.result).rejects.toThrow('it failed');
  const layers = await Promise.all(others.map(({ result }) => result));
  expect(new Set(layers.map(({ layer }) => layer?.diffId)).size).toBe(1);
  for (const { uses, events } of others) {
    expect(uses).toEqual([{ kind: 'shared' }]);
    expect(texts(events)).toEqual(['The build that carried this step out did not finish it; it begins again.']);
  }
});

it('fails for all when its command failed', async () => {
  const step = held();
  const first = lab.ask(cache, {}, step.execute);
  await step.started;
  const second = lab.ask(cache, { buildId: 'two' }, step.execute);
  await joined(second.uses);
  const error = failure('user', 1);
  step.fail(error);
  await expect(first.result).rejects.toBe(error);
  await expect(second.result).rejects.toBe(error);
  expect(step.runs).toBe(1);
});

it('does not fail for a build that gives it secrets of its own', async () => {
  const step = held();
  const first = lab.ask(cache, { hasSecrets: true }, step.execute);
  await step.started;
  const own = held();
  const second = lab.ask(cache, { buildId: 'two', hasSecrets: true }, own.execute);
  await joined(second.uses);
  step.fail(failure('user', 1));
  await expect(first.result).rejects.toThrow();
  await own.started;
  own.end({ layer: undefined });
  await expect(second.result).resolves.toEqual({ layer: undefined });
});

it('is not shared with a build that asked for noCache, except by that build itself', async () => {
  const step = held();
  const first = lab.ask(cache, {}, step.execute);
  await step.started;
  const fresh = held();
  const second = lab.ask(cache, { buildId: 'two', noCache: true }, fresh.execute);
  await fresh.started;
  const again = lab.ask(cache, { buildId: 'two', noCache: true }, fresh.execute);
  await joined(again.uses);
  step.end({ layer: undefined });
  fresh.end({ layer: undefined });
  await Promise.all([first, second, again].map(({ result }) => result));
  expect([second.uses, again.uses]).toEqual([[{ kind: 'miss', why: 'noCache was asked for' }], [{ kind: 'shared' }]]);
  expect([step.runs, fresh.runs]).toEqual([1, 1]);
});

it('runs each step once at a time and leaves nothing running, whoever comes, goes and fails', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ key: fc.nat(2), leaves: fc.boolean(), fails: fc.boolean(), turns: fc.nat(6) }), {
        minLength: 1,
        maxLength: 24,
      }),
      async (plan) => {
        await lab.database.db.deleteFrom('build_cache').execute();
        const running = new Map<number, number>();
        let most = 0;
        const asked = plan.map(({ key, leaves, fails, turns }, index) => {
          const execute: Execute = async (signal) => {
            const now = (running.get(key) ?? 0) + 1;
            running.set(key, now);
            most = Math.max(most, now);
            // One that is being ended may be followed by the next before it has noticed.
            const ended = Promise.withResolvers<void>();
            signal.addEventListener('abort', () => ended.resolve(), { once: true });
            void ended.promise.then(() => running.set(key, (running.get(key) ?? 1) - 1));
            try {
              for (let turn = 0; turn < turns && !signal.aborted; turn++) await setImmediate();
              signal.throwIfAborted();
              if (fails) throw failure('limit_exceeded', undefined);
              return { layer: undefined };
            } finally {
              ended.resolve();
            }
          };
          const one = lab.ask(cache, { buildId: `build ${index}`, parts: { key: String(key) } }, execute);
          if (leaves) void setImmediate().then(() => one.abort(new Error('left')));
          return one;
        });
        const outcomes = await Promise.allSettled(asked.map(({ result }) => result));
        expect(most).toBeLessThanOrEqual(1);
        expect([...running.values()].every((count) => count === 0)).toBe(true);
        for (const [index, outcome] of outcomes.entries()) {
          const mayFail = plan[index]?.leaves || plan[index]?.fails;
          if (outcome.status === 'rejected') expect(mayFail).toBe(true);
        }
      },
    ),
    { numRuns: 40 },
  );
}, 30_000);

it('keeps what it made from the sweeper until it is recorded, also when its build has gone', async () => {
  const step = held();
  const first = lab.ask(cache, {}, step.execute);
  await step.started;
  const { layer } = await lab.makes()(AbortSignal.timeout(10_000), () => {});
  expect(await lab.keeper.sweep(async (stored) => new Set(stored.map(({ diffId }) => diffId)))).toEqual([]);
  step.end({ layer });
  expect(await first.result).toEqual({ layer });
});
