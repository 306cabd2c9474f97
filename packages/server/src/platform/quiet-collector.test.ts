import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { startQuietCollector } from './quiet-collector.ts';

const MIB = 1024 * 1024;
let busy: number;
let resident: number;
let collections: number;
let collector: { close(): void };

beforeEach(() => {
  vi.useFakeTimers();
  busy = 0;
  resident = 160 * MIB;
  collections = 0;
  collector = startQuietCollector({
    log: { debug() {} },
    resident: () => resident,
    utilization: () => busy,
    collect() {
      collections++;
      resident = 145 * MIB;
    },
  });
});
afterEach(() => {
  collector.close();
  vi.useRealTimers();
});

it('gives back what the start left, once', () => {
  vi.advanceTimersByTime(10_000);
  expect(collections).toBe(1);
  vi.advanceTimersByTime(600_000);
  expect(collections).toBe(1);
});

it('waits while there is work, and does it when that is over', () => {
  busy = 0.5;
  vi.advanceTimersByTime(300_000);
  expect(collections).toBe(0);
  busy = 0.001;
  vi.advanceTimersByTime(60_000);
  expect(collections).toBe(1);
});

it('does it again after a busy time that left something, and not for little', () => {
  vi.advanceTimersByTime(10_000);
  resident = 150 * MIB;
  vi.advanceTimersByTime(120_000);
  expect(collections).toBe(1);
  resident = 250 * MIB;
  vi.advanceTimersByTime(60_000);
  expect(collections).toBe(2);
});

it('stops when it is closed', () => {
  collector.close();
  vi.advanceTimersByTime(300_000);
  expect(collections).toBe(0);
});

it('gives memory back', () => {
  vi.useRealTimers();
  const log = { debug: vi.fn() };
  const real = startQuietCollector({ log, utilization: () => 0, firstLookMs: 0 });
  return vi.waitFor(() => expect(log.debug).toHaveBeenCalled(), { timeout: 20_000 }).finally(() => real.close());
});
