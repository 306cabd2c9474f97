import { describe, expect, it } from 'vitest';
import { createSharedRuns } from './shared-runs.ts';

const quiet = { signal: new AbortController().signal, onReport: () => {} };

/** Work that ends when the test says so, or when it is aborted. */
function controlled() {
  const runs: {
    report: (value: number) => void;
    signal: AbortSignal;
    resolve: (value: string) => void;
    reject: (error: Error) => void;
  }[] = [];
  const begin = (signal: AbortSignal, report: (value: number) => void) =>
    new Promise<string>((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
      runs.push({ signal, report, resolve, reject });
    });
  return { runs, begin };
}

const settledMicrotasks = () => new Promise((resolve) => setImmediate(resolve));

describe('shared runs', () => {
  it('are done once for all that ask at the same time, and reported to all', async () => {
    const shared = createSharedRuns<string>();
    const { runs, begin } = controlled();
    const reports: number[][] = [[], []];
    const both = reports.map((seen) => shared.join('key', begin, { ...quiet, onReport: (value) => seen.push(value) }));
    runs[0]?.report(5);
    runs[0]?.resolve('done');
    expect(await Promise.all(both)).toEqual(['done', 'done']);
    expect(runs).toHaveLength(1);
    expect(reports).toEqual([[5], [5]]);
  });

  it('are done again for who asks later, and apart for other keys', async () => {
    const shared = createSharedRuns<string>();
    const { runs, begin } = controlled();
    const [one, other] = [shared.join('one', begin, quiet), shared.join('other', begin, quiet)];
    runs[0]?.resolve('1');
    runs[1]?.resolve('2');
    expect(await Promise.all([one, other])).toEqual(['1', '2']);
    const again = shared.join('one', begin, quiet);
    runs[2]?.resolve('3');
    expect(await again).toBe('3');
  });

  it('go on when the one who began them leaves and another waits', async () => {
    const shared = createSharedRuns<string>();
    const { runs, begin } = controlled();
    const leaver = new AbortController();
    const first = shared.join('key', begin, { ...quiet, signal: leaver.signal });
    const second = shared.join('key', begin, quiet);
    leaver.abort(new Error('gone'));
    await expect(first).rejects.toThrow('gone');
    expect(runs[0]?.signal.aborted).toBe(false);
    runs[0]?.resolve('done');
    expect(await second).toBe('done');
    expect(runs).toHaveLength(1);
  });

  it('end when the last one leaves, who waits for the end; who comes then begins anew', async () => {
    const shared = createSharedRuns<string>();
    let cleaned: (() => void) | undefined;
    const slowToEnd = (signal: AbortSignal) =>
      new Promise<string>((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          cleaned = () => reject(signal.reason);
        });
      });
    const leaver = new AbortController();
    let left = false;
    const first = shared.join('key', slowToEnd, { ...quiet, signal: leaver.signal }).catch(() => {
      left = true;
    });
    leaver.abort(new Error('gone'));
    await settledMicrotasks();
    expect(left).toBe(false);
    expect(await shared.join('key', async () => 'fresh', quiet)).toBe('fresh');
    cleaned?.();
    await first;
    expect(left).toBe(true);
  });

  it('that fail are tried once by each of the others, and fail for the one who began', async () => {
    const shared = createSharedRuns<string>();
    const { runs, begin } = controlled();
    const [first, second, third] = [0, 1, 2].map(() => shared.join('key', begin, quiet));
    runs[0]?.reject(new Error('denied to the first'));
    await expect(first).rejects.toThrow('denied to the first');
    await settledMicrotasks();
    expect(runs).toHaveLength(2);
    runs[1]?.resolve('second could');
    expect(await Promise.all([second, third])).toEqual(['second could', 'second could']);
  });

  it('are not begun by a call that is cancelled already', async () => {
    const { runs, begin } = controlled();
    const options = { ...quiet, signal: AbortSignal.abort(new Error('too late')) };
    await expect(createSharedRuns<string>().join('key', begin, options)).rejects.toThrow('too late');
    expect(runs).toHaveLength(0);
  });
});
