import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createJobWakes } from './job-wakes.ts';

/** Workers as the library has them: one that was notified looks once it can, takes at most one job, and sleeps when there is none. */
function simulate(workers: number) {
  const notified = new Set<string>();
  const busy = new Set<string>();
  const wakes = createJobWakes((worker) => notified.add(worker));
  let jobs = 0;
  let looks = 0;
  for (let index = 0; index < workers; index++) wakes.add('a', `worker-${index}`);
  const ready = () => [...notified].filter((worker) => !busy.has(worker));
  return {
    busy,
    waiting: () => jobs,
    looks: () => looks,
    ready,
    send(count = 1) {
      jobs += count;
      wakes.wake('a');
    },
    look(worker: string) {
      looks += 1;
      notified.delete(worker);
      if (jobs === 0) return;
      jobs -= 1;
      busy.add(worker);
      wakes.begin('a', worker);
    },
    finish(worker: string) {
      wakes.end('a', worker);
      busy.delete(worker);
    },
  };
}

test('for one job of many workers three look: the one that is woken, the next, and the first again when it is done', () => {
  const { send, look, finish, ready, looks, busy } = simulate(12);
  send();
  for (let each = ready()[0]; each !== undefined; each = ready()[0]) look(each);
  for (const each of busy) finish(each);
  for (let each = ready()[0]; each !== undefined; each = ready()[0]) look(each);
  expect(looks()).toBe(3);
});

test('jobs that come together are begun together, as many as there are workers', () => {
  const { send, look, ready, busy, waiting } = simulate(4);
  for (let index = 0; index < 6; index++) send();
  for (const each of ready()) look(each);
  expect([busy.size, waiting()]).toEqual([4, 2]);
});

test('one call for many jobs is enough', () => {
  const { send, look, ready, busy, waiting } = simulate(4);
  send(6);
  for (let each = ready()[0]; each !== undefined; each = ready()[0]) look(each);
  expect([busy.size, waiting()]).toEqual([4, 2]);
});

test('in whatever order things happen, no job waits while nobody is going to look', () => {
  const step = fc.record({ kind: fc.constantFrom('send', 'send many', 'look', 'finish'), which: fc.nat() });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 60 }), (workers, steps) => {
      const world = simulate(workers);
      const oneOf = (some: readonly string[], which: number) => some[which % some.length];
      for (const { kind, which } of steps) {
        const worker = oneOf(kind === 'look' ? world.ready() : [...world.busy], which);
        if (kind === 'send') world.send();
        else if (kind === 'send many') world.send(5);
        else if (worker !== undefined) world[kind === 'look' ? 'look' : 'finish'](worker);
        // A busy worker looks when it is done.
        if (world.waiting() > 0) expect(world.ready().length + world.busy.size).toBeGreaterThan(0);
        if (world.waiting() > 0 && world.busy.size < workers) expect(world.ready().length).toBeGreaterThan(0);
      }
    }),
  );
});

test('names have workers of their own', () => {
  const woken: string[] = [];
  const wakes = createJobWakes((worker) => woken.push(worker));
  wakes.add('a', 'of a');
  wakes.add('b', 'of b');
  wakes.wake('b');
  wakes.wake('nobody works for this one');
  expect(woken).toEqual(['of b']);
});
