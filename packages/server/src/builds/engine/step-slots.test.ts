import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createStepSlots } from './step-slots.ts';

const never = new AbortController().signal;

/** Tasks that run until they are told to end, and the order in which they began. */
function createTasks(limit: number) {
  const slots = createStepSlots(limit);
  const began: string[] = [];
  const running: (() => void)[] = [];
  const add = (organizationId: string, buildId: string, name: string, signal = never) =>
    slots.run({ organizationId, buildId }, signal, () => {
      began.push(name);
      return new Promise<void>((resolve) => running.push(resolve));
    });
  const endOne = async () => {
    running.shift()?.();
    await setImmediate();
  };
  return { add, began, endOne };
}

test('no more run at a time than there are slots', async () => {
  const { add, began, endOne } = createTasks(2);
  for (const name of ['a', 'b', 'c']) void add('one', 'x', name);
  await setImmediate();
  expect(began).toEqual(['a', 'b']);
  await endOne();
  expect(began).toEqual(['a', 'b', 'c']);
});

test('turns go from organization to organization, and within one from build to build', async () => {
  const { add, began, endOne } = createTasks(1);
  void add('one', 'x', 'first');
  for (const name of ['x1', 'x2', 'x3']) void add('one', 'x', name);
  void add('one', 'y', 'y1');
  void add('two', 'z', 'z1');
  void add('two', 'z', 'z2');
  for (let turn = 0; turn < 7; turn += 1) await endOne();
  expect(began).toEqual(['first', 'x1', 'z1', 'y1', 'z2', 'x2', 'x3']);
});

test('who gives up waiting takes no slot', async () => {
  const { add, began, endOne } = createTasks(1);
  void add('one', 'x', 'first');
  const controller = new AbortController();
  const waiting = add('one', 'x', 'given up', controller.signal);
  void add('one', 'x', 'last');
  controller.abort(new Error('cancelled'));
  await expect(waiting).rejects.toThrow('cancelled');
  await endOne();
  expect(began).toEqual(['first', 'last']);
});

test('a task that fails gives its slot back', async () => {
  const slots = createStepSlots(1);
  const owner = { organizationId: 'one', buildId: 'x' };
  await expect(slots.run(owner, never, () => Promise.reject(new Error('failed')))).rejects.toThrow('failed');
  await expect(slots.run(owner, never, async () => 'runs')).resolves.toBe('runs');
});
