import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import { errnoOf, messageOf } from '../../platform/errors.ts';
import { compareTree, type LayerVerdict } from './compare-tree.ts';
import { writeTreeRecord } from './tree-record.ts';
import { crcOfFile, walkTree } from './walk-tree.ts';

export interface HealthJob {
  id: number;
  kind: 'record' | 'compare';
  root: string;
  record: string;
  contents: boolean;
  cancelled: SharedArrayBuffer;
}

export type HealthAnswer =
  | { id: number; verdict: LayerVerdict }
  | { id: number; failed: string; errno: string | undefined };

/** The machine is for those who wait for it: in the background a thread works for this long, and then rests as long. */
const STRETCH_MS = 20;

function serve(port: NonNullable<typeof parentPort>): void {
  const background = workerData === 'background';
  // On Linux this is the thread's alone.
  if (background) setPriority(0, 19);
  const rest = new Int32Array(new SharedArrayBuffer(4));
  port.on('message', ({ id, kind, root, record, contents, cancelled }: HealthJob) => {
    const flag = new Int32Array(cancelled);
    let since = performance.now();
    const check = () => {
      if (Atomics.load(flag, 0) !== 0) throw new Error('cancelled');
      if (!background || performance.now() - since < STRETCH_MS) return;
      Atomics.wait(rest, 0, 0, performance.now() - since);
      since = performance.now();
    };
    const answer = (message: HealthAnswer) => port.postMessage(message);
    try {
      if (kind === 'compare') {
        answer({ id, verdict: compareTree(root, record, { contents, check }) });
        return;
      }
      let entries = 0;
      const crcOf = contents ? (_: string, location: Buffer) => crcOfFile(location, check) : undefined;
      const counted = function* () {
        for (const entry of walkTree(root, { crcOf, check })) {
          entries += 1;
          yield entry;
        }
      };
      writeTreeRecord(record, counted(), { sync: true });
      answer({ id, verdict: { kind: 'sound', entries } });
    } catch (error) {
      answer({ id, failed: messageOf(error), errno: errnoOf(error) });
    }
  });
}

if (parentPort !== null) serve(parentPort);
