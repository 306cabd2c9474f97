import { expect, test } from 'vitest';
import { createTurns, type Turn } from './turns.ts';

const never = new AbortController().signal;

function lab(places: number, perOrganization: number) {
  const turns = createTurns({ places, perOrganization });
  const began: string[] = [];
  const held = new Map<string, Turn>();
  const ask = (organization: string, name: string, signal: AbortSignal = never) =>
    turns
      .take(organization, signal, () => {})
      .then((turn) => {
        began.push(name);
        held.set(name, turn);
      });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const end = async (name: string) => {
    held.get(name)?.giveBack();
    await settle();
  };
  return { turns, began, ask, end, settle };
}

test('an organization that asked for many does not keep another waiting for all of them', async () => {
  const { ask, began, end, settle } = lab(1, 1);
  for (const name of ['a1', 'a2', 'a3']) void ask('a', name);
  void ask('b', 'b1');
  void ask('c', 'c1');
  await settle();
  for (const name of ['a1', 'b1', 'c1', 'a2']) await end(name);
  expect(began).toEqual(['a1', 'b1', 'c1', 'a2', 'a3']);
});

test('one organization has no more places than its own, others get the rest', async () => {
  const { ask, began, end, settle } = lab(3, 2);
  for (const name of ['a1', 'a2', 'a3']) void ask('a', name);
  void ask('b', 'b1');
  await settle();
  expect(began).toEqual(['a1', 'a2', 'b1']);
  await end('b1');
  expect(began).toEqual(['a1', 'a2', 'b1']);
  await end('a1');
  expect(began).toEqual(['a1', 'a2', 'b1', 'a3']);
});

test('who gives up while waiting is passed over, and a place is given back once', async () => {
  const { ask, began, end, settle, turns } = lab(1, 1);
  void ask('a', 'a1');
  const gone = new AbortController();
  const given = ask('a', 'a2', gone.signal);
  void ask('a', 'a3');
  const heard: number[] = [];
  void turns.take('a', never, (before) => heard.push(before));
  expect(heard).toEqual([2]);
  gone.abort(new Error('cancelled'));
  await expect(given).rejects.toThrow('cancelled');
  await end('a1');
  await end('a1');
  await settle();
  expect(began).toEqual(['a1', 'a3']);
});
