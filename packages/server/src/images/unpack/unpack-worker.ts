import { parentPort } from 'node:worker_threads';
import { type FromWorker, sendError, type ToWorker } from './protocol.ts';
import { unpackLayer } from './unpack-layer.ts';

/** The thread that unpacks layers, one after the other. */
interface RunningJob {
  id: number;
  chunks: ArrayBuffer[];
  ended: boolean;
  isCancelled: () => boolean;
  wake: () => void;
}

function serve(port: NonNullable<typeof parentPort>): void {
  let running: RunningJob | undefined;
  const answer = (message: FromWorker) => port.postMessage(message);

  async function* incoming(job: RunningJob): AsyncGenerator<Buffer> {
    while (true) {
      const bytes = job.chunks.shift();
      if (bytes !== undefined) {
        yield Buffer.from(bytes);
        answer({ kind: 'consumed', id: job.id, bytes: bytes.byteLength });
      } else if (job.ended || job.isCancelled()) return;
      else {
        await new Promise<void>((resolve) => {
          job.wake = resolve;
        });
      }
    }
  }

  async function run({ id, job, cancelled }: Extract<ToWorker, { kind: 'start' }>): Promise<void> {
    const flag = new Int32Array(cancelled);
    const current: RunningJob = {
      id,
      chunks: [],
      ended: false,
      isCancelled: () => Atomics.load(flag, 0) !== 0,
      wake: () => {},
    };
    running = current;
    try {
      const layer = await unpackLayer(job, incoming(current), current.isCancelled);
      answer({ kind: 'done', id, layer });
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
