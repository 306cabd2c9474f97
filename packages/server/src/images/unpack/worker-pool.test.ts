import { once } from 'node:events';
import { afterEach, describe, expect, it } from 'vitest';
import { createWorkerPool, type WorkerPool } from './worker-pool.ts';

const SCRIPT = new URL(
  `data:text/javascript,${encodeURIComponent(
    "import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => { throw new Error('broken'); });",
  )}`,
);
const never = new AbortController().signal;
const pools: WorkerPool[] = [];
const newPool = (size: number, idleMs: number) => {
  const pool = createWorkerPool(SCRIPT, { size, idleMs, worker: { execArgv: [], env: {} } });
  pools.push(pool);
  return pool;
};
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close();
});

describe('a pool of workers', () => {
  it('gives a worker to one at a time, and the next one the same', async () => {
    const pool = newPool(1, 60_000);
    const first = await pool.acquire(never);
    const second = pool.acquire(never);
    pool.release(first, { reusable: true });
    expect(await second).toBe(first);
  });

  it('ends a worker that is idle', async () => {
    const pool = newPool(1, 1);
    const worker = await pool.acquire(never);
    const exited = once(worker, 'exit');
    pool.release(worker, { reusable: true });
    await exited;
    expect(await pool.acquire(never)).not.toBe(worker);
  });

  it('replaces a worker that crashed, for one who waits', async () => {
    const pool = newPool(1, 60_000);
    const first = await pool.acquire(never);
    const second = pool.acquire(never);
    first.postMessage('crash');
    expect(await second).not.toBe(first);
    pool.release(first, { reusable: true });
    pool.release(await second, { reusable: true });
  });

  it('replaces a worker that is not to be used again', async () => {
    const pool = newPool(1, 60_000);
    const first = await pool.acquire(never);
    const second = pool.acquire(never);
    pool.release(first, { reusable: false });
    expect(await second).not.toBe(first);
  });

  it('lets one who waits give up, and serves the others', async () => {
    const pool = newPool(1, 60_000);
    const first = await pool.acquire(never);
    const controller = new AbortController();
    const impatient = pool.acquire(controller.signal);
    const patient = pool.acquire(never);
    controller.abort(new Error('enough'));
    await expect(impatient).rejects.toThrow('enough');
    pool.release(first, { reusable: true });
    expect(await patient).toBe(first);
  });

  it('refuses those who wait when it closes', async () => {
    const pool = newPool(1, 60_000);
    await pool.acquire(never);
    const waiting = expect(pool.acquire(never)).rejects.toMatchObject({ code: 'unavailable' });
    await pool.close();
    await waiting;
    await expect(pool.acquire(never)).rejects.toMatchObject({ code: 'unavailable' });
  });
});
