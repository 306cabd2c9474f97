import { conflict } from '../platform/errors.ts';
import { runFsck } from './run-fsck.ts';
import type { Depth, FsckReport, Scene } from './types.ts';

export { collectFindings, runFsck } from './run-fsck.ts';
export type { Depth, Finding, FsckReport, Scene } from './types.ts';

export interface FsckRequest {
  repair: boolean;
  depth: Depth;
  signal: AbortSignal;
}

/** Database against disk, both ways. */
export interface Fsck {
  /** Raises `conflict` while another one runs here. Whoever stops reading it ends it; what was repaired by then stays so. */
  run(request: FsckRequest): AsyncGenerator<FsckReport, void, undefined>;
}

export type FsckDeps = Omit<Scene, 'depth' | 'signal'>;

export function createFsck(deps: FsckDeps): Fsck {
  let isRunning = false;
  return {
    run({ repair, depth, signal }) {
      if (isRunning) throw conflict('The state directory is being looked at already', { hint: 'Wait for its end.' });
      const report = async function* () {
        // What is never read never runs.
        if (isRunning) throw conflict('The state directory is being looked at already');
        isRunning = true;
        try {
          yield* runFsck({ ...deps, depth, signal }, { repair });
        } finally {
          isRunning = false;
        }
      };
      return report();
    },
  };
}
