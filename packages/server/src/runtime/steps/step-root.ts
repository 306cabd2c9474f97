import { closeSync, constants, existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DarkroomError } from '../../platform/errors.ts';
import { O_PATH } from '../../platform/libc-files.ts';
import type { Mount } from '../container/container-config.ts';
import type { ContainerHost } from '../container/container-host.ts';
import { checkPath } from '../container/container-root.ts';
import { unmountQuietly } from '../container/overlay.ts';
import type { StepSpec } from '../step-types.ts';
import { closeSources, type MountSource, openSource, takeRoot } from './mount-source.ts';
import { addStubs } from './mount-stubs.ts';
import { type Attempt, placeMounts } from './place-mounts.ts';
import { ROOT_TREE, type StepPaths, stubsPath } from './step-layout.ts';

export interface StepRoot {
  /** The caller closes it. */
  fd: number;
  path: string;
  /** What crun has to mount, over its own mounts. */
  crunMounts: Mount[];
}

/**
 * The root of a step with all its mounts, at `paths.rootfs`. They are mounted here and not by crun, which would look for sources as the
 * step's own root, and would make places that are missing in the upper directory. Those stand in a layer of their own instead, which goes
 * with the step: the root is mounted, looked through, and mounted once more with what was missing.
 */
export async function mountStepRoot(host: ContainerHost, spec: StepSpec, paths: StepPaths): Promise<StepRoot> {
  for (const { target } of spec.mounts) checkPath(target);
  mkdirSync(paths.scratch, { mode: 0o700 });
  for (const dir of [paths.rootfs, paths.mounts]) mkdirSync(dir, { mode: 0o711 });
  takeRoot(spec.layers.at(-1), spec.upper, host.idBase);
  const sources: MountSource[] = [];
  try {
    for (const index of spec.mounts.keys()) sources.push(await openSource(host, spec, paths, index));
    // Each round finds what lies inside of what the one before has found.
    for (let round = 0; round <= spec.mounts.length + 1; round += 1) {
      const root = await mountAll({ host, spec, paths, sources }, round);
      if (root !== undefined) return root;
    }
    throw new DarkroomError('internal', 'the mounts of a step cannot be put in place');
  } finally {
    closeSources(sources);
  }
}

/** Undefined when something was missing, for which there are stubs by now. */
async function mountAll(attempt: Attempt, round: number): Promise<StepRoot | undefined> {
  const { host, spec, paths } = attempt;
  const stubs = stubsPath(paths, ROOT_TREE);
  // What an earlier mount had cannot be used again: the kernel takes it for the remains of a crash.
  const work = join(paths.scratch, `root-work-${round}`);
  mkdirSync(work, { mode: 0o700 });
  await host.mountOverlay({
    layers: [host.layout.skeletonDir, ...spec.layers, ...(existsSync(stubs) ? [stubs] : [])],
    upper: spec.upper,
    work,
    target: paths.rootfs,
    volatile: true,
  });
  let fd: number | undefined;
  let complete = false;
  try {
    fd = openSync(paths.rootfs, O_PATH | constants.O_DIRECTORY);
    const { crunMounts, missing } = await placeMounts(attempt, { fd, path: paths.rootfs }, round);
    complete = missing.size === 0;
    if (complete) return { fd, path: paths.rootfs, crunMounts };
    for (const [tree, { at, places }] of missing) {
      addStubs(stubsPath(paths, tree), { root: { fd, path: paths.rootfs }, at }, places, host.idBase);
    }
    return undefined;
  } finally {
    if (!complete) {
      if (fd !== undefined) closeSync(fd);
      unmountQuietly(paths.rootfs);
    }
  }
}
