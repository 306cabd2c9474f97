import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type TerminalEnd, type TerminalViewer, Viewers } from './viewers.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const END: TerminalEnd = { exitCode: 0, reason: undefined };

function viewer(takes: () => boolean = () => true) {
  const seen: string[] = [];
  const calls: string[] = [];
  const made: TerminalViewer = {
    show(chunk) {
      seen.push(chunk.toString());
      return takes();
    },
    end: () => void calls.push('end'),
    cut: () => void calls.push('cut'),
  };
  return { made, seen, calls };
}

function watched() {
  const flow: boolean[] = [];
  return { flow, viewers: new Viewers((open) => void flow.push(open)) };
}

test('everybody sees everything, and the slowest sets the pace', () => {
  const { flow, viewers } = watched();
  const [fast, slow] = [viewer(), viewer(() => false)];
  viewers.add(fast.made);
  viewers.add(slow.made);
  viewers.show(Buffer.from('one'));
  expect([fast.seen, slow.seen, flow]).toEqual([['one'], ['one'], [false]]);
  viewers.drained(fast.made);
  expect(flow).toEqual([false]);
  viewers.drained(slow.made);
  expect(flow).toEqual([false, true]);
});

test('who takes nothing for a minute is cut off, and the others go on', () => {
  const { flow, viewers } = watched();
  const [fast, stuck] = [viewer(), viewer(() => false)];
  viewers.add(fast.made);
  viewers.add(stuck.made);
  viewers.show(Buffer.from('one'));
  vi.advanceTimersByTime(59_000);
  expect(viewers.isHeld).toBe(true);
  vi.advanceTimersByTime(1_000);
  expect([stuck.calls, fast.calls, viewers.size, flow]).toEqual([['cut'], [], 1, [false, true]]);
});

test('who leaves while it holds the others up lets them go on', () => {
  const { flow, viewers } = watched();
  const slow = viewer(() => false);
  viewers.add(slow.made);
  viewers.show(Buffer.from('one'));
  viewers.remove(slow.made);
  vi.advanceTimersByTime(120_000);
  expect([flow, slow.calls]).toEqual([[false, true], []]);
});

test('the end is told to everybody once, and nobody is cut off after it', () => {
  const { viewers } = watched();
  const [fast, slow] = [viewer(), viewer(() => false)];
  viewers.add(fast.made);
  viewers.add(slow.made);
  viewers.show(Buffer.from('one'));
  viewers.endAll(END);
  viewers.endAll(END);
  vi.advanceTimersByTime(120_000);
  expect([fast.calls, slow.calls]).toEqual([['end'], ['end']]);
});
