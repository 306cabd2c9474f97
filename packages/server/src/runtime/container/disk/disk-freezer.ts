import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { DarkroomError, messageOf } from '../../../platform/errors.ts';
import { createSemaphore } from '../../semaphore.ts';
import type { FreezeAnswer, FreezeJob } from './freeze-worker.ts';

/** Clones images of mounted disks, each as it is at one moment. */
export interface DiskFreezer {
  /** Resolves with the milliseconds for which who writes to the disk had to wait. A failed call leaves the disk as it was. */
  clone(job: Omit<FreezeJob, 'id'>): Promise<number>;
  /** Waits, in bounded time, until nothing is frozen. */
  close(): Promise<void>;
}

const AT_ONCE = 4;
const IDLE_MS = 10_000;
/** Writing back what was not written is part of it, and a disk may be slow. */
const TIMEOUT_MS = 60_000;
const HEAP_MB = 32;

export function createDiskFreezer(): DiskFreezer {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const script = new URL(`./freeze-worker.${extension}`, import.meta.url);
  const place = createSemaphore(AT_ONCE);
  const idle = new Map<Worker, NodeJS.Timeout>();
  const busy = new Set<Promise<unknown>>();
  let jobs = 0;

  function take(): Worker {
    const [entry] = idle;
    if (entry === undefined) {
      const worker = new Worker(script, {
        resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
        execArgv: [],
        env: {},
        // Its pipes are made by libc.
        trackUnmanagedFds: false,
      });
      // Whoever holds it hears of errors too.
      worker.on('error', () => {});
      return worker;
    }
    const [worker, timer] = entry;
    clearTimeout(timer);
    idle.delete(worker);
    worker.ref();
    return worker;
  }

  function giveBack(worker: Worker): void {
    worker.unref();
    const end = () => {
      idle.delete(worker);
      void worker.terminate();
    };
    idle.set(worker, setTimeout(end, IDLE_MS).unref());
  }

  /** Never terminated before it has answered: it would leave the disk frozen. */
  async function answerOf(worker: Worker, job: FreezeJob): Promise<number> {
    const ended = new AbortController();
    const { signal } = ended;
    try {
      worker.postMessage(job);
      const crashed = once(worker, 'exit', { signal }).then(() => {
        throw new DarkroomError('unavailable', 'the thread that copies disks ended', { retryable: true });
      });
      crashed.catch(() => {});
      const [answer]: FreezeAnswer[] = await Promise.race([once(worker, 'message', { signal }), crashed]);
      if (answer === undefined) throw new DarkroomError('internal', 'a disk was copied without an answer');
      giveBack(worker);
      if ('failed' in answer) throw copyError(answer);
      return answer.pausedMs;
    } finally {
      ended.abort();
    }
  }

  return {
    clone: (job) =>
      place(async () => {
        jobs += 1;
        const work = answerOf(take(), { ...job, id: jobs });
        const watched: Promise<unknown> = work.catch(messageOf).finally(() => busy.delete(watched));
        busy.add(watched);
        const timer = new AbortController();
        const late = sleep(TIMEOUT_MS, undefined, { signal: timer.signal, ref: false }).then(() => {
          throw new DarkroomError('timeout', 'the disk of the sandbox could not be written back in time', {
            retryable: true,
            hint: 'The disk of the machine is slow, or the sandbox writes without end.',
          });
        });
        late.catch(() => {});
        try {
          return await Promise.race([work, late]);
        } finally {
          timer.abort();
        }
      }),
    async close() {
      const timer = new AbortController();
      const late = sleep(TIMEOUT_MS, undefined, { signal: timer.signal }).catch(() => {});
      await Promise.race([Promise.all(busy), late]);
      timer.abort();
      for (const [worker, timeout] of idle) {
        clearTimeout(timeout);
        await worker.terminate();
      }
      idle.clear();
    },
  };
}

function copyError({ failed, errno }: { failed: string; errno: string | undefined }): DarkroomError {
  if (errno === 'ENOSPC' || errno === 'EDQUOT') {
    return new DarkroomError('insufficient_storage', 'no space is left to copy the disk of the sandbox', {
      retryable: true,
      hint: 'Delete snapshots and sandboxes that nobody needs, or make the pool larger.',
    });
  }
  return new DarkroomError('unavailable', `the disk of the sandbox could not be copied: ${failed}`, {
    retryable: true,
  });
}
