import { join } from 'node:path';
import type { Layout } from '../container/layout.ts';

/** Where the things of steps lie, apart from those of sandboxes: nobody adopts a step. */
export function stepLayout(layout: Layout) {
  return {
    stepsDir: join(layout.runDir, 'steps'),
    crunRoot: join(layout.runDir, 'step-crun'),
    crunBinary: join(layout.runDir, 'step-crun-binary'),
    /** What is at `/.darkroom` in a step. */
    toolsDir: join(layout.poolRoot, 'runtime', 'step-tools'),
    /** Overlayfs merges two directories or more. */
    emptyDir: join(layout.poolRoot, 'runtime', 'empty'),
  };
}

export const STEP_PREFIX = 'step-';
/** Of what a step needs on the pool beside its layers. */
export const SCRATCH_PREFIX = 'build-step-';

/** Of container, cgroup and directories. */
export const stepName = (id: string) => `${STEP_PREFIX}${id}`;

export function stepPaths(layout: Layout, name: string) {
  const dir = join(layout.runDir, 'steps', name);
  return {
    dir,
    rootfs: join(dir, 'rootfs'),
    etc: join(dir, 'etc'),
    /** Places for what is mounted into the root. */
    mounts: join(dir, 'mounts'),
    /** Files that are in memory only. */
    files: join(dir, 'files'),
    config: join(dir, 'config.json'),
    log: join(dir, 'crun.log'),
    scratch: join(layout.trashDir, `${SCRATCH_PREFIX}${name.slice(STEP_PREFIX.length)}`),
  };
}

export type StepPaths = ReturnType<typeof stepPaths>;

/** Of the stubs of the root, where those of a mount have its number. */
export const ROOT_TREE = -1;

export const stubsPath = ({ scratch }: StepPaths, tree: number) =>
  join(scratch, tree === ROOT_TREE ? 'stubs' : `stubs-${tree}`);
