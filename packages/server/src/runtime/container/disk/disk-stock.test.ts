import { expect, test } from 'vitest';
import { createDiskStock, type ReadyDisk } from './disk-stock.ts';

function lab(ready = 2) {
  let made = 0;
  const alive = new Map<ReadyDisk, number>();
  const waiters: (() => void)[] = [];
  const stock = createDiskStock({
    ready,
    async make(bytes) {
      made += 1;
      const disk = { directory: `disk-${made}`, root: '', unmount: () => {} };
      alive.set(disk, bytes);
      for (const wake of waiters.splice(0)) wake();
      return disk;
    },
    async discard(disk) {
      alive.delete(disk);
    },
    log: { error: () => {} },
  });
  const until = async (condition: () => boolean) => {
    while (!condition()) await new Promise<void>((resolve) => waiters.push(resolve));
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { stock, alive, made: () => made, until };
}

test('a size that was asked for is made ahead of time', async () => {
  const { stock, made, until } = lab();
  expect((await stock.take(10)).directory).toBe('disk-1');
  await until(() => made() === 3);
  expect((await stock.take(10)).directory).toBe('disk-2');
  expect((await stock.take(10)).directory).toBe('disk-3');
  await stock.close();
});

test('the sizes asked for last are kept, and others given up', async () => {
  const { stock, alive, until } = lab(1);
  const taken = [await stock.take(10), await stock.take(20)];
  await until(() => alive.size === 4);
  taken.push(await stock.take(30));
  await until(() => [...alive.values()].filter((bytes) => bytes === 30).length === 2);
  expect([...alive.values()].sort()).toEqual([10, 20, 20, 30, 30]);
  await stock.close();
  expect([...alive.keys()].sort()).toEqual(taken);
});

test('nothing is left after the end, and a late take is made for itself', async () => {
  const { stock, alive } = lab();
  const taken = await stock.take(10);
  await stock.close();
  expect([...alive.keys()]).toEqual([taken]);
  const late = await stock.take(10);
  await stock.close();
  expect([...alive.keys()]).toEqual([taken, late]);
});
