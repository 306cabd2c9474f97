import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { LRUCache } from 'lru-cache';
import { createWorkerPool } from '../../images/unpack/worker-pool.ts';
import { DarkroomError } from '../../platform/errors.ts';
import { run } from '../../platform/process.ts';
import { type OpenArchive, runInWorker } from './run-in-worker.ts';
import type { DigestRequest, TransferRequest, TransferResult } from './transfer-types.ts';
import type { FilesJob, FilesResults, MergeJob } from './worker-protocol.ts';

/** The files of builds, handled in threads of their own. */
export interface BuildFiles {
  /**
   * Carries out COPY or ADD into `upper`, in overlayfs form and with shifted ids; nothing is synced. A failed or aborted call leaves the
   * directory with no more in it than a sweep takes away. Raises `invalid_request` for what the instruction's author can put right,
   * `quota_exceeded`, `insufficient_storage`, or the signal's reason.
   */
  transfer(request: TransferRequest, signal: AbortSignal): Promise<TransferResult>;
  /** The same for the same files, whatever their times. Remembered where the source has an identity. Raises as `transfer` does. */
  digest(request: DigestRequest, signal: AbortSignal): Promise<string>;
  /** Unpacks archives into `tree` of an empty directory (see `ContextMerge`), and writes `digests.json` beside it. */
  merge(job: Omit<MergeJob, 'kind'>, open: OpenArchive, signal: AbortSignal): Promise<FilesResults['merge']>;
  /** Starts a thread ahead of the first call, which would wait for it for a fifth of a second. */
  warm(): void;
  /** Fails the calls that run and ends the threads. */
  close(): Promise<void>;
}

export interface BuildFilesOptions {
  /** Host id that is root in the image, and how many ids follow it. */
  idBase: number;
  idCount: number;
  /** Files that one step may make, or one build's contexts have. */
  maxEntries?: number;
}

const DEFAULT_MAX_ENTRIES = 2_000_000;
const WORKER_IDLE_MS = 60_000;
const WARM_MS = 1000;
const WORKER_HEAP_MB = 1024;
const CLEANUP_MS = 10 * 60_000;
const REMEMBERED_DIGESTS = 20_000;

export function createBuildFiles(options: BuildFilesOptions): BuildFiles {
  const { idBase, idCount, maxEntries = DEFAULT_MAX_ENTRIES } = options;
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const pool = createWorkerPool(new URL(`./files-worker.${extension}`, import.meta.url), {
    size: availableParallelism(),
    idleMs: WORKER_IDLE_MS,
    worker: { resourceLimits: { maxOldGenerationSizeMb: WORKER_HEAP_MB }, execArgv: [], env: {} },
  });
  const remembered = new LRUCache<string, string>({ max: REMEMBERED_DIGESTS });

  async function perform<K extends keyof FilesResults>(
    kind: K,
    job: FilesJob,
    signal: AbortSignal,
    open?: OpenArchive,
  ): Promise<FilesResults[K]> {
    const result = await runInWorker(pool, job, { idBase, idCount, maxEntries }, signal, open);
    if (isOf(result, kind)) return result.value;
    throw new DarkroomError('internal', `a ${kind} was answered as a ${result.kind}`);
  }

  return {
    async transfer(request, signal) {
      try {
        return await perform('transfer', { kind: 'transfer', request }, signal);
      } catch (error) {
        await emptyDirectory(request.upper);
        throw error;
      }
    },
    async digest(request, signal) {
      const key = digestKey(request);
      const known = key === undefined ? undefined : remembered.get(key);
      if (known !== undefined) return known;
      const digest = await perform('digest', { kind: 'digest', request }, signal);
      if (key !== undefined) remembered.set(key, digest);
      return digest;
    },
    merge: (job, open, signal) => perform('merge', { kind: 'merge', ...job }, signal, open),
    warm() {
      pool.acquire(AbortSignal.timeout(WARM_MS)).then(
        (worker) => pool.release(worker, { reusable: true }),
        // All are at work, or the server ends: nothing to warm.
        () => {},
      );
    },
    close: () => pool.close(),
  };
}

function isOf<K extends keyof FilesResults>(
  result: { kind: keyof FilesResults; value: unknown },
  kind: K,
): result is { kind: K; value: FilesResults[K] } {
  return result.kind === kind;
}

/** What a digest depends on, where that can be said without looking at files. */
function digestKey({ source, instruction, fetched }: DigestRequest): string | undefined {
  if (source.identity === undefined) return undefined;
  const { kind, sources, heredocs, exclude, parents } = instruction;
  const files = [...fetched].map(([index, file]) => [
    index,
    'identity' in file ? file.identity : [file.name, file.sha256],
  ]);
  const parts = [source.identity, source.ignore ?? null, kind, sources, heredocs, exclude, parents, files];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64');
}

/** With a tool, because names may be any bytes and trees of any depth. */
async function emptyDirectory(directory: string): Promise<void> {
  await run('find', [directory, '-xdev', '-mindepth', '1', '-delete'], { timeoutMs: CLEANUP_MS }).catch(() => {});
}
