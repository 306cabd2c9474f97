import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort } from 'node:worker_threads';
import { sendError } from '../../images/unpack/protocol.ts';
import { ContextMerge } from '../contexts/merge-context.ts';
import { carryOut, transferError } from './carry-out.ts';
import { digestFileText, digestSources } from './digest.ts';
import type { DigestRequest } from './transfer-types.ts';
import {
  FilesCancelled,
  type FilesJob,
  type FilesResult,
  type FromWorker,
  type JobLimits,
  type MergeJob,
  type ToWorker,
} from './worker-protocol.ts';

/** The thread that reads and writes files of builds, one job after the other. */
interface RunningJob {
  id: number;
  limits: JobLimits & { check: () => void };
  chunks: ArrayBuffer[];
  ended: boolean;
  wake: () => void;
}

function serve(port: NonNullable<typeof parentPort>): void {
  let running: RunningJob | undefined;
  const answer = (message: FromWorker) => port.postMessage(message);

  async function* incoming(job: RunningJob, index: number): AsyncGenerator<Buffer> {
    job.ended = false;
    answer({ kind: 'next', id: job.id, index });
    for (;;) {
      const bytes = job.chunks.shift();
      if (bytes !== undefined) {
        yield Buffer.from(bytes);
        answer({ kind: 'consumed', id: job.id, bytes: bytes.byteLength });
      } else if (job.ended) return;
      else {
        job.limits.check();
        await new Promise<void>((resolve) => {
          job.wake = resolve;
        });
      }
    }
  }

  async function merge({ directory, maxBytes, names }: MergeJob, job: RunningJob): Promise<FilesResult> {
    const tree = join(directory, 'tree');
    mkdirSync(tree);
    const merging = new ContextMerge({ directory: tree, maxBytes, ...job.limits });
    for (const [index, name] of names.entries()) await merging.add(name, incoming(job, index));
    const { digests, ...value } = merging.finish();
    writeFileSync(join(directory, 'digests.json'), digestFileText(digests));
    return { kind: 'merge', value };
  }

  function digest(request: DigestRequest, check: () => void): string {
    try {
      return digestSources(request, check);
    } catch (error) {
      throw transferError(error);
    }
  }

  async function carry(job: FilesJob, current: RunningJob): Promise<FilesResult> {
    switch (job.kind) {
      case 'transfer':
        return { kind: 'transfer', value: await carryOut(job.request, current.limits) };
      case 'digest':
        return { kind: 'digest', value: digest(job.request, current.limits.check) };
      case 'merge':
        return await merge(job, current);
    }
  }

  async function run({ id, job, limits, cancelled }: Extract<ToWorker, { kind: 'start' }>): Promise<void> {
    const flag = new Int32Array(cancelled);
    const check = () => {
      if (Atomics.load(flag, 0) !== 0) throw new FilesCancelled();
    };
    const current: RunningJob = { id, limits: { ...limits, check }, chunks: [], ended: false, wake: () => {} };
    running = current;
    try {
      answer({ kind: 'done', id, result: await carry(job, current) });
    } catch (error) {
      answer({ kind: 'failed', id, error: sendError(error) });
    } finally {
      running = undefined;
    }
  }

  port.on('message', (message: ToWorker) => {
    if (message.kind === 'start') {
      void run(message);
      return;
    }
    if (running?.id !== message.id) return;
    if (message.kind === 'chunk') running.chunks.push(message.bytes);
    if (message.kind === 'end') running.ended = true;
    running.wake();
  });
}

if (parentPort !== null) serve(parentPort);
