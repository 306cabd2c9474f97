import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { DarkroomError, errnoOf, messageOf } from '../../platform/errors.ts';
import { run } from '../../platform/process.ts';
import { type ChunkFeed, createChunkFeed } from './chunk-feed.ts';
import { type FromWorker, receiveError, type ToWorker } from './protocol.ts';
import type { LayerUnpacker, UnpackedLayer } from './types.ts';
import type { UnpackJob } from './unpack-layer.ts';
import { createWorkerPool } from './worker-pool.ts';

export type { LayerBlob, LayerUnpacker, UnpackedLayer } from './types.ts';

export interface UnpackerOptions {
  /** Host id that is root in the image, and how many ids follow it. */
  idBase: number;
  idCount: number;
  maxEntries?: number;
  maxPaddingBytes?: number;
}

const DEFAULT_MAX_ENTRIES = 5_000_000;
const DEFAULT_MAX_PADDING_BYTES = 1024 ** 3;
const WORKER_IDLE_MS = 10_000;
/** A hostile archive of nothing but directories runs into this, and not into the server's memory. */
const WORKER_HEAP_MB = 1024;
/** The worker looks for a cancel at every entry and chunk; one that does not answer hangs in a system call. */
const CANCEL_MS = 10_000;
const CLEANUP_MS = 10 * 60_000;

export function createUnpacker(options: UnpackerOptions): LayerUnpacker {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const pool = createWorkerPool(new URL(`./unpack-worker.${extension}`, import.meta.url), {
    size: availableParallelism(),
    idleMs: WORKER_IDLE_MS,
    worker: { resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MB }, execArgv: [], env: {} },
  });
  const { maxEntries = DEFAULT_MAX_ENTRIES, maxPaddingBytes = DEFAULT_MAX_PADDING_BYTES } = options;
  let jobs = 0;

  return {
    async unpack(source, blob, signal) {
      const worker = await pool.acquire(signal);
      const { idBase, idCount } = options;
      const job: UnpackJob = { ...blob, idBase, idCount, maxEntries, maxPaddingBytes };
      const running = new RunningUnpack(worker, ++jobs, job, source);
      try {
        return await running.run(signal);
      } catch (error) {
        await emptyDirectory(blob.directory);
        throw error;
      } finally {
        pool.release(worker, { reusable: running.answered });
      }
    },
    close: () => pool.close(),
  };
}

/** One layer in one worker, from this thread's side. */
class RunningUnpack {
  /** The worker said how it went, and is free. */
  answered = false;
  readonly #worker: Worker;
  readonly #id: number;
  readonly #job: UnpackJob;
  readonly #feed: ChunkFeed;
  readonly #cancelled = new SharedArrayBuffer(4);
  readonly #answer = Promise.withResolvers<UnpackedLayer>();

  constructor(worker: Worker, id: number, job: UnpackJob, source: AsyncIterable<Uint8Array>) {
    this.#worker = worker;
    this.#id = id;
    this.#job = job;
    this.#feed = createChunkFeed(source, (bytes) => this.#send({ kind: 'chunk', id, bytes }, [bytes]));
  }

  async run(signal: AbortSignal): Promise<UnpackedLayer> {
    const failedBy: { reason?: unknown } = {};
    const fail = (reason: unknown) => {
      failedBy.reason ??= reason;
      this.#cancel();
    };
    const onAbort = () => fail(signal.reason);
    const onMessage = (message: FromWorker) => this.#receive(message);
    const onError = (error: unknown) => this.#answer.reject(crashed(this.#job, error));
    const onExit = () => this.#answer.reject(crashed(this.#job, undefined));
    signal.addEventListener('abort', onAbort, { once: true });
    this.#worker.on('message', onMessage).once('error', onError).once('exit', onExit);
    try {
      this.#send({ kind: 'start', id: this.#id, job: this.#job, cancelled: this.#cancelled });
      this.#feed.run().then(() => this.#send({ kind: 'end', id: this.#id }), fail);
      if (signal.aborted) onAbort();
      return await this.#answer.promise;
    } catch (error) {
      throw failedBy.reason ?? error;
    } finally {
      this.#feed.stop();
      signal.removeEventListener('abort', onAbort);
      this.#worker.off('message', onMessage).off('error', onError).off('exit', onExit);
    }
  }

  #send(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #receive(message: FromWorker): void {
    if (message.id !== this.#id) return;
    if (message.kind === 'consumed') {
      this.#feed.consumed(message.bytes);
      return;
    }
    this.answered = true;
    if (message.kind === 'done') this.#answer.resolve(message.layer);
    else this.#answer.reject(receiveError(message.error, `layer ${this.#job.diffId}`));
  }

  #cancel(): void {
    this.#feed.stop();
    Atomics.store(new Int32Array(this.#cancelled), 0, 1);
    this.#send({ kind: 'cancel', id: this.#id });
    const timer = setTimeout(() => void this.#worker.terminate(), CANCEL_MS).unref();
    void this.#answer.promise.catch(() => {}).finally(() => clearTimeout(timer));
  }
}

function crashed(job: UnpackJob, error: unknown): DarkroomError {
  if (errnoOf(error) === 'ERR_WORKER_OUT_OF_MEMORY') {
    return new DarkroomError(
      'image_invalid',
      `layer ${job.diffId}: it needs more than ${WORKER_HEAP_MB} MB to unpack`,
      {
        hint: 'It has too many directories, or names that are too long.',
      },
    );
  }
  const why = error === undefined ? '' : `: ${messageOf(error)}`;
  return new DarkroomError('unavailable', `layer ${job.diffId}: its unpacking ended before it was done${why}`, {
    retryable: true,
    cause: error,
  });
}

/**
 * With a tool, because names may be any bytes and trees of any depth. What cannot be removed stays for the sweep of who
 * owns the directory; the failure that led here says more.
 */
async function emptyDirectory(directory: string): Promise<void> {
  await run('find', [directory, '-xdev', '-mindepth', '1', '-delete'], { timeoutMs: CLEANUP_MS }).catch(() => {});
}
