import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { createKeyedQueue, createSemaphore } from './semaphore.ts';

describe('a semaphore', () => {
  test('lets so many run at once and no more, in the order they came, whatever fails', async () => {
    const run = createSemaphore(2);
    const order: number[] = [];
    let running = 0;
    let most = 0;
    const results = await Promise.allSettled(
      Array.from({ length: 9 }, (_, i) =>
        run(async () => {
          order.push(i);
          running += 1;
          most = Math.max(most, running);
          await nextTurn();
          running -= 1;
          if (i % 3 === 0) throw new Error('fails');
          return i;
        }),
      ),
    );
    expect(most).toBe(2);
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(6);
    expect(await run(async () => 'free again')).toBe('free again');
  });
});

describe('a keyed queue', () => {
  test('runs the tasks of one key one after the other, and of others beside them', async () => {
    const run = createKeyedQueue();
    const events: string[] = [];
    const task = (name: string) => async () => {
      events.push(`${name} begins`);
      await nextTurn();
      events.push(`${name} ends`);
    };
    await Promise.all([run('a', task('a1')), run('a', task('a2')), run('b', task('b1'))]);
    expect(events.filter((event) => event.startsWith('a'))).toEqual(['a1 begins', 'a1 ends', 'a2 begins', 'a2 ends']);
    expect(events.indexOf('b1 begins')).toBeLessThan(events.indexOf('a2 begins'));
  });

  test('goes on after a task that failed', async () => {
    const run = createKeyedQueue();
    const failed = run('a', () => Promise.reject(new Error('no')));
    const next = run('a', async () => 'yes');
    await expect(failed).rejects.toThrow('no');
    expect(await next).toBe('yes');
  });
});
