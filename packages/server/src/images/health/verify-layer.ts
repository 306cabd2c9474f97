import { dirname, join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { DarkroomError, errnoOf, messageOf } from '../../platform/errors.ts';
import { keepMounted } from '../layer-disk.ts';
import { createWorkerPool, type WorkerPool } from '../unpack/worker-pool.ts';
import type { LayerVerdict } from './compare-tree.ts';
import type { HealthAnswer, HealthJob } from './health-worker.ts';
import { treeRecordPath } from './tree-record.ts';

/** Looks at the files of layers, in threads of its own. */
export interface LayerVerifier {
  /**
   * Compares a layer (the path of its `diff`) with what was recorded of it: names, types, modes, owners, sizes, times, targets, attributes; with
   * `contents` also the bytes of its files. Changes nothing. Raises the signal's reason, or `internal` when it could not look.
   */
  verifyLayer(path: string, options: VerifyOptions): Promise<LayerVerdict>;
  /** Writes down what the layer is now. What was written before is replaced. */
  recordLayer(path: string, options: VerifyOptions): Promise<void>;
  close(): Promise<void>;
}

export interface VerifyOptions {
  contents: boolean;
  signal: AbortSignal;
  /** At the lowest priority, one layer at a time. */
  background?: boolean;
}

const IDLE_MS = 10_000;
const HEAP_MB = 512;

export function createLayerVerifier(): LayerVerifier {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const script = new URL(`./health-worker.${extension}`, import.meta.url);
  const poolOf = (background: boolean, size: number) =>
    createWorkerPool(script, {
      size,
      idleMs: IDLE_MS,
      worker: {
        workerData: { background },
        resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
        execArgv: [],
        env: {},
      },
    });
  const front = poolOf(false, 2);
  const back = poolOf(true, 1);
  let jobs = 0;

  async function perform(kind: HealthJob['kind'], path: string, options: VerifyOptions): Promise<LayerVerdict> {
    const { contents, signal, background = false } = options;
    // Before anything is waited for.
    using _mount = keep(path);
    const pool = background ? back : front;
    const worker = await pool.acquire(signal);
    jobs += 1;
    const job = {
      id: jobs,
      kind,
      root: path,
      record: treeRecordPath(path),
      contents,
      cancelled: new SharedArrayBuffer(4),
    };
    return await runIn(pool, worker, job, signal);
  }

  return {
    verifyLayer: (path, options) => perform('compare', path, options),
    async recordLayer(path, options) {
      await perform('record', path, options);
    },
    async close() {
      await Promise.all([front.close(), back.close()]);
    },
  };
}

async function runIn(pool: WorkerPool, worker: Worker, job: HealthJob, signal: AbortSignal): Promise<LayerVerdict> {
  const { promise, resolve, reject } = Promise.withResolvers<LayerVerdict>();
  let reusable = false;
  const what = `look at the files of ${dirname(job.root)}`;
  const onMessage = (answer: HealthAnswer) => {
    if (answer.id !== job.id) return;
    reusable = true;
    if ('verdict' in answer) resolve(answer.verdict);
    else reject(new DarkroomError('internal', `${what}: ${answer.failed}`, { details: { errno: answer.errno } }));
  };
  const onEnd = (error?: unknown) =>
    reject(new DarkroomError('unavailable', `${what}: ${messageOf(error ?? 'it ended')}`, { retryable: true }));
  const onAbort = () => Atomics.store(new Int32Array(job.cancelled), 0, 1);
  worker.on('message', onMessage).once('error', onEnd).once('exit', onEnd);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  worker.postMessage(job);
  try {
    return await promise;
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', onAbort);
    worker.off('message', onMessage).off('error', onEnd).off('exit', onEnd);
    pool.release(worker, { reusable });
  }
}

/** What cannot be opened has nothing mounted on it either; the walk says what is wrong with it. */
function keep(path: string): Disposable | undefined {
  try {
    return keepMounted(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EIO', 'EUCLEAN', 'EBADMSG', 'ESTALE'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** Exists beside a layer whose files are known to be damaged. */
export function damageMarkPath(diffDirectory: string): string {
  return join(dirname(diffDirectory), 'damaged');
}
