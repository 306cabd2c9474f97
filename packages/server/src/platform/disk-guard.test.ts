import { once } from 'node:events';
import { expect, it, vi } from 'vitest';
import { createDiskGuard } from './disk-guard.ts';

function guard(percents: number[]) {
  const makeRoom = vi.fn(async () => {});
  let asked = 0;
  let time = 0;
  const made = createDiskGuard({
    use: async () => {
      const percent = percents[Math.min(asked++, percents.length - 1)] ?? 0;
      return { usedBytes: percent, freeBytes: 100 - percent };
    },
    makeRoomAtPercent: 85,
    refuseAtPercent: 95,
    makeRoom,
    log: { info() {}, warn() {} },
    now: () => time,
  });
  return {
    ...made,
    makeRoom,
    asked: () => asked,
    pass: (ms: number) => {
      time += ms;
    },
  };
}

it('lets work begin while there is room, and looks once for a burst', async () => {
  const disk = guard([50]);
  await Promise.all(Array.from({ length: 20 }, () => disk.assertRoom()));
  expect(disk.asked()).toBe(1);
  expect(disk.makeRoom).not.toHaveBeenCalled();
  await disk.close();
});

it('gives up what is needed least above the low mark, and not again and again', async () => {
  const disk = guard([90]);
  await disk.assertRoom();
  disk.pass(5_000);
  await disk.assertRoom();
  expect(disk.makeRoom).toHaveBeenCalledTimes(1);
  disk.pass(10 * 60_000);
  await disk.assertRoom();
  expect(disk.makeRoom).toHaveBeenCalledTimes(2);
  await disk.close();
});

it('refuses new work above the high mark, until there is room', async () => {
  const disk = guard([97, 97, 60]);
  await expect(disk.assertRoom()).rejects.toMatchObject({ code: 'insufficient_storage', status: 507 });
  disk.pass(2_000);
  await disk.assertRoom();
  await disk.close();
});

it('waits for the room that is being made before it refuses', async () => {
  const disk = guard([97, 60]);
  await disk.assertRoom();
  expect(disk.makeRoom).toHaveBeenCalledTimes(1);
  expect(await disk.pressure()).toBe(0);
  await disk.close();
});

it('ends work that fills the disk before there is nothing left, and no other', async () => {
  let used = 50;
  const settings = { makeRoomAtPercent: 85, refuseAtPercent: 95, makeRoom: async () => {} };
  const use = async () => ({ usedBytes: used, freeBytes: 100 - used });
  const disk = createDiskGuard({ use, ...settings, log: { info() {}, warn() {} } });
  const never = new AbortController().signal;
  expect(await disk.within(never, async () => 'done')).toBe('done');
  const filling = disk.within(never, (signal) => {
    used = 98;
    return once(signal, 'abort').then(() => signal.throwIfAborted());
  });
  await expect(filling).rejects.toMatchObject({ code: 'insufficient_storage', retryable: true });
  await disk.close();
});

it('says that it cannot look, and looks again the next time', async () => {
  const use = vi.fn().mockRejectedValueOnce(new Error('gone')).mockResolvedValue({ usedBytes: 1, freeBytes: 9 });
  const settings = { makeRoomAtPercent: 85, refuseAtPercent: 95, makeRoom: async () => {} };
  const disk = createDiskGuard({ use, ...settings, log: { info() {}, warn() {} } });
  await expect(disk.assertRoom()).rejects.toThrow('gone');
  await disk.assertRoom();
  await disk.close();
});

it('ends though room is still being made', async () => {
  vi.useFakeTimers();
  try {
    const disk = createDiskGuard({
      use: async () => ({ usedBytes: 90, freeBytes: 10 }),
      makeRoomAtPercent: 85,
      refuseAtPercent: 95,
      makeRoom: () => new Promise(() => {}),
      log: { info() {}, warn() {} },
    });
    await disk.assertRoom();
    const closing = disk.close();
    await vi.advanceTimersByTimeAsync(10_000);
    await closing;
  } finally {
    vi.useRealTimers();
  }
});
