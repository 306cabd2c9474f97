import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { DarkroomError, messageOf } from '../../../platform/errors.ts';
import { createSemaphore } from '../../semaphore.ts';
import type { FreezeAnswer, FreezeJob } from './freeze-worker.ts';

/** Clones images of mounted disks, each as it is at one moment. */
export interface DiskFreezer {
  /** There will be something to clone soon: a thread is made ready for it. */
  warm(): void;
  /**
   * Resolves with the milliseconds for which who writes to the disk had to wait. A failed call leaves the disk as it was, and one that
   * took too long will have: until then the disk is busy.
   */
  clone(job: Omit<FreezeJob, 'id'>): Promise<number>;
  /** Resolves, in bounded time, when nothing is done any more with the disk that has this marker. */
  settled(marker: string): Promise<void>;
  /** Waits, in bounded time, until nothing is frozen. */
  close(): Promise<void>;
}

const AT_ONCE = 4;
const IDLE_MS = 60_000;
/** Writing back what was not written is part of it, and a disk may be slow. */
const TIMEOUT_MS = 60_000;
/** A disk that does not answer for so long is lost, and who waits for its sandbox will hear of that otherwise. */
const SETTLE_MS = 5 * 60_000;
const HEAP_MB = 32;

export function createDiskFreezer({ timeoutMs = TIMEOUT_MS } = {}): DiskFreezer {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const script = new URL(`./freeze-worker.${extension}`, import.meta.url);
  const place = createSemaphore(AT_ONCE);
  const idle = new Map<Worker, NodeJS.Timeout>();
  /** By the markers of their disks; a thread goes on when its caller waits no longer. */
  const busy = new Map<string, Promise<unknown>>();
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
    warm() {
      if (idle.size === 0 && busy.size === 0) giveBack(take());
    },
    async clone(job) {
      if (busy.has(job.marker)) throw tooLate('an earlier copy of the disk of the sandbox has not ended yet');
      const timer = new AbortController();
      const late = sleep(timeoutMs, undefined, { signal: timer.signal, ref: false }).then(() => {
        // Whoever still waits for a place does not want it any more.
        timer.abort();
        throw tooLate('the disk of the sandbox could not be written back in time');
      });
      late.catch(() => {});
      const work = place(async () => {
        timer.signal.throwIfAborted();
        jobs += 1;
        return answerOf(take(), { ...job, id: jobs });
      }).finally(() => busy.delete(job.marker));
      busy.set(job.marker, work.catch(messageOf));
      try {
        return await Promise.race([work, late]);
      } finally {
        timer.abort();
      }
    },
    async settled(marker) {
      const work = busy.get(marker);
      if (work !== undefined) await atMost(SETTLE_MS, work);
    },
    async close() {
      await atMost(TIMEOUT_MS, Promise.all(busy.values()));
      for (const [worker, timeout] of idle) {
        clearTimeout(timeout);
        await worker.terminate();
      }
      idle.clear();
    },
  };
}

const tooLate = (message: string) =>
  new DarkroomError('timeout', message, {
    retryable: true,
    hint: 'The disk of the machine is slow, or the sandbox writes without end.',
  });

async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  const timer = new AbortController();
  const late = sleep(ms, undefined, { signal: timer.signal }).catch(() => {});
  await Promise.race([work, late]);
  timer.abort();
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
