import { Worker, type WorkerOptions } from 'node:worker_threads';
import { DarkroomError } from '../../platform/errors.ts';

export interface WorkerPool {
  /** A worker for one caller alone, as soon as one is free. */
  acquire(signal: AbortSignal): Promise<Worker>;
  /** Gives it back. One that has ended, or is not to be used again, is replaced when it is needed. */
  release(worker: Worker, options: { reusable: boolean }): void;
  close(): Promise<void>;
}

interface Waiter {
  resolve: (worker: Worker) => void;
  reject: (reason: unknown) => void;
}

/** Workers are made when they are needed, and end when they were idle for a while. */
export function createWorkerPool(
  script: URL,
  options: { size: number; idleMs: number; worker: WorkerOptions },
): WorkerPool {
  const alive = new Set<Worker>();
  const idle = new Map<Worker, NodeJS.Timeout>();
  const waiters = new Set<Waiter>();
  let closed = false;

  function start(): Worker {
    const worker = new Worker(script, options.worker);
    alive.add(worker);
    // Who holds the worker hears of errors too; one that nobody holds must not end the server.
    worker.on('error', () => {});
    worker.once('exit', () => {
      alive.delete(worker);
      clearTimeout(idle.get(worker));
      idle.delete(worker);
      serveWaiters();
    });
    return worker;
  }

  function take(): Worker | undefined {
    const [entry] = idle;
    if (entry === undefined) return alive.size < options.size ? start() : undefined;
    const [worker, timer] = entry;
    clearTimeout(timer);
    idle.delete(worker);
    worker.ref();
    return worker;
  }

  function serveWaiters(): void {
    for (const waiter of waiters) {
      const worker = closed ? undefined : take();
      if (worker === undefined) return;
      waiters.delete(waiter);
      waiter.resolve(worker);
    }
  }

  return {
    async acquire(signal) {
      signal.throwIfAborted();
      if (closed) throw closedError();
      const worker = take();
      if (worker !== undefined) return worker;
      const { promise, resolve, reject } = Promise.withResolvers<Worker>();
      const waiter = { resolve, reject };
      const onAbort = () => {
        if (waiters.delete(waiter)) reject(signal.reason);
      };
      waiters.add(waiter);
      signal.addEventListener('abort', onAbort, { once: true });
      return await promise.finally(() => signal.removeEventListener('abort', onAbort));
    },
    release(worker, { reusable }) {
      if (!alive.has(worker)) return;
      if (!reusable || closed) {
        void worker.terminate();
        return;
      }
      // An idle worker keeps neither the process nor its memory for long.
      worker.unref();
      const timer = setTimeout(() => void worker.terminate(), options.idleMs).unref();
      idle.set(worker, timer);
      serveWaiters();
    },
    async close() {
      closed = true;
      for (const waiter of waiters) waiter.reject(closedError());
      waiters.clear();
      await Promise.all([...alive].map((worker) => worker.terminate()));
    },
  };
}

function closedError(): DarkroomError {
  return new DarkroomError('unavailable', 'the server is shutting down', { retryable: true });
}
