import type { Worker } from 'node:worker_threads';
import { type ChunkFeed, createChunkFeed } from '../../images/unpack/chunk-feed.ts';
import type { WorkerPool } from '../../images/unpack/worker-pool.ts';
import { DarkroomError, errnoOf, messageOf } from '../../platform/errors.ts';
import {
  type FilesJob,
  type FilesResult,
  type FromWorker,
  type JobLimits,
  restoreError,
  type ToWorker,
} from './worker-protocol.ts';

/** Opens the archive of a number, when it is its turn. */
export type OpenArchive = (index: number) => Promise<AsyncIterable<Uint8Array>>;

/** The worker looks for a cancel at every file and chunk; one that does not answer hangs in a system call. */
const CANCEL_MS = 10_000;

let jobs = 0;

/** One job in a worker of the pool. An aborted call raises the signal's reason once the worker has let go of everything. */
export async function runInWorker(
  pool: WorkerPool,
  job: FilesJob,
  limits: JobLimits,
  signal: AbortSignal,
  open: OpenArchive = () => Promise.reject(new DarkroomError('internal', 'this job reads no archive')),
): Promise<FilesResult> {
  const worker = await pool.acquire(signal);
  const running = new RunningJob(worker, job, open);
  try {
    return await running.run(limits, signal);
  } finally {
    pool.release(worker, { reusable: running.answered });
  }
}

class RunningJob {
  /** The worker said how it went, and is free. */
  answered = false;
  readonly #worker: Worker;
  readonly #id: number;
  readonly #job: FilesJob;
  readonly #open: OpenArchive;
  readonly #cancelled = new SharedArrayBuffer(4);
  readonly #answer = Promise.withResolvers<FilesResult>();
  #feed: ChunkFeed | undefined;
  #failure: { reason: unknown } | undefined;

  constructor(worker: Worker, job: FilesJob, open: OpenArchive) {
    jobs += 1;
    this.#id = jobs;
    this.#worker = worker;
    this.#job = job;
    this.#open = open;
  }

  async run(limits: JobLimits, signal: AbortSignal): Promise<FilesResult> {
    const onAbort = () => this.#fail(signal.reason);
    const onMessage = (message: FromWorker) => this.#receive(message);
    const onError = (error: unknown) => this.#answer.reject(crashed(error));
    const onExit = () => this.#answer.reject(crashed(undefined));
    signal.addEventListener('abort', onAbort, { once: true });
    this.#worker.on('message', onMessage).once('error', onError).once('exit', onExit);
    try {
      this.#send({ kind: 'start', id: this.#id, job: this.#job, limits, cancelled: this.#cancelled });
      if (signal.aborted) onAbort();
      return await this.#answer.promise;
    } catch (error) {
      throw this.#failure === undefined ? error : this.#failure.reason;
    } finally {
      this.#feed?.stop();
      signal.removeEventListener('abort', onAbort);
      this.#worker.off('message', onMessage).off('error', onError).off('exit', onExit);
    }
  }

  #send(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #receive(message: FromWorker): void {
    if (message.id !== this.#id) return;
    if (message.kind === 'consumed') this.#feed?.consumed(message.bytes);
    else if (message.kind === 'next') this.#feedArchive(message.index).catch((reason: unknown) => this.#fail(reason));
    else {
      this.answered = true;
      if (message.kind === 'done') this.#answer.resolve(message.result);
      else this.#answer.reject(restoreError(message.error));
    }
  }

  async #feedArchive(index: number): Promise<void> {
    const source = await this.#open(index);
    const feed = createChunkFeed(source, (bytes) => this.#send({ kind: 'chunk', id: this.#id, bytes }, [bytes]));
    if (this.answered || this.#failure !== undefined) {
      feed.stop();
      return;
    }
    this.#feed = feed;
    await feed.run();
    this.#send({ kind: 'end', id: this.#id });
  }

  #fail(reason: unknown): void {
    if (this.#failure !== undefined || this.answered) return;
    this.#failure = { reason };
    this.#feed?.stop();
    Atomics.store(new Int32Array(this.#cancelled), 0, 1);
    this.#send({ kind: 'cancel', id: this.#id });
    const timer = setTimeout(() => void this.#worker.terminate(), CANCEL_MS).unref();
    void this.#answer.promise.catch(() => {}).finally(() => clearTimeout(timer));
  }
}

function crashed(error: unknown): DarkroomError {
  if (errnoOf(error) === 'ERR_WORKER_OUT_OF_MEMORY') {
    return new DarkroomError('invalid_request', 'the files of the step need too much memory', {
      hint: 'There are too many of them, or their names are too long.',
    });
  }
  const why = error === undefined ? '' : `: ${messageOf(error)}`;
  return new DarkroomError('unavailable', `the copying of files ended before it was done${why}`, {
    retryable: true,
    cause: error,
  });
}
