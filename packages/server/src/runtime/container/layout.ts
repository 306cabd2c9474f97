import { join, relative } from 'node:path';

/**
 * Where a sandbox's things lie. What must survive a reboot is in the pool; what describes a running container is in the
 * run directory, and its absence after a reboot is the truth.
 */
export interface Layout {
  poolRoot: string;
  sandboxesDir: string;
  trashDir: string;
  /** The lowest layer of every mount: the places that other things are mounted on. */
  skeletonDir: string;
  /** The programs that Darkroom brings into every sandbox. */
  toolsDir: string;
  /** The pool once more, by a mount: crun looks up mount sources as the sandbox's root, who may not pass the state directory. */
  poolView: string;
  runDir: string;
  crunRoot: string;
  /** What runsc keeps about its containers, and our notes of them. */
  gvisorRoot: string;
}

export function layoutOf(poolRoot: string, runDir: string): Layout {
  return {
    poolRoot,
    sandboxesDir: join(poolRoot, 'sandboxes'),
    trashDir: join(poolRoot, 'tmp'),
    skeletonDir: join(poolRoot, 'runtime', 'skeleton'),
    toolsDir: join(poolRoot, 'runtime', 'tools'),
    poolView: join(runDir, 'pool'),
    runDir,
    crunRoot: join(runDir, 'crun'),
    gvisorRoot: join(runDir, 'gvisor'),
  };
}

/** A path of the pool, as crun gets it. */
export function seenByCrun(layout: Layout, path: string): string {
  return join(layout.poolView, relative(layout.poolRoot, path));
}

/**
 * What a sandbox keeps while it does not run: `upper` and `work`, or a disk that has them (`disk/disk-image.ts`); and a mark that its files are
 * those of another machine, whose identity they still have.
 */
export function sandboxPaths(layout: Layout, id: string) {
  const dir = join(layout.sandboxesDir, id);
  return { dir, upper: join(dir, 'upper'), work: join(dir, 'work'), borrowed: borrowedIn(dir) };
}

export const borrowedIn = (directory: string) => join(directory, 'borrowed');

/** What a running container has beside crun's own state. */
export function runPaths(layout: Layout, id: string) {
  const dir = join(layout.runDir, 'containers', id);
  return {
    dir,
    rootfs: join(dir, 'rootfs'),
    etc: join(dir, 'etc'),
    config: join(dir, 'config.json'),
    log: join(dir, 'crun.log'),
    policy: join(dir, 'network.json'),
  };
}

const ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;

/** An id becomes a directory, a cgroup and an argument: nothing but plain characters. */
export function isContainerId(id: string): boolean {
  return ID.test(id);
}
