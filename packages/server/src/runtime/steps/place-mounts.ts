import { closeSync, constants, existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { invalidRequest } from '../../platform/errors.ts';
import { MS_BIND, MS_NOEXEC, MS_RDONLY, mount } from '../../platform/libc.ts';
import { O_PATH } from '../../platform/libc-files.ts';
import { type Mount, TOOLS_TARGET } from '../container/container-config.ts';
import type { ContainerHost } from '../container/container-host.ts';
import { unmountQuietly } from '../container/overlay.ts';
import type { StepSpec } from '../step-types.ts';
import { findPlace, isWithin, type OpenRoot } from './find-place.ts';
import { holdPlace, makePlace, pathOf } from './held-place.ts';
import { closeSources, type MountSource } from './mount-source.ts';
import type { MissingPlace } from './mount-stubs.ts';
import { ROOT_TREE, type StepPaths, stubsPath } from './step-layout.ts';

export interface Attempt {
  host: ContainerHost;
  spec: StepSpec;
  paths: StepPaths;
  /** Of the mounts of the step, in their order. */
  sources: readonly MountSource[];
}

export interface Placement {
  crunMounts: Mount[];
  /** By tree: the number of the mount in which it is missing, or `ROOT_TREE`. */
  missing: Map<number, { at: string; places: MissingPlace[] }>;
}

interface Placed {
  tree: number;
  at: string;
  source: MountSource;
}

const MS_REMOUNT = 32;

/** What crun mounts on by itself. */
const CRUN_TARGETS: readonly { target: string; kind: MissingPlace['kind'] }[] = [
  ...['/proc', '/dev', '/sys', TOOLS_TARGET].map((target) => ({ target, kind: 'directory' as const })),
  ...['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'].map((target) => ({ target, kind: 'file' as const })),
];
/** Where the kernel is seen, or Darkroom itself. */
const CLOSED = ['/proc', '/sys', TOOLS_TARGET];

/** Mounts what can be mounted, in order; what has no place, and what lies inside of that, is left for the next round. */
export async function placeMounts(attempt: Attempt, root: OpenRoot, round: number): Promise<Placement> {
  const { host, spec, paths, sources } = attempt;
  const placed: Placed[] = [];
  const skipped: string[] = [];
  const placement: Placement = { crunMounts: [], missing: new Map() };

  /** Undefined when it is missing, and cannot be made where it would lie. */
  function placeFor(target: string, kind: MissingPlace['kind']): string | undefined {
    const place = findPlace(root, target);
    if ('found' in place) {
      if (place.isDirectory === (kind === 'directory')) return place.found;
      throw invalidRequest(`the mount target ${target} is ${kind === 'file' ? 'a directory' : 'no directory'}`);
    }
    const { under, missing: names } = place;
    const wanted = join(under, ...names);
    if (isWithin(wanted, '/dev')) return wanted;
    const around = placed.findLast(({ at }) => isWithin(under, at));
    if (around?.source.canBeWritten) {
      const directory = holdPlace(root, under);
      try {
        makePlace(directory, names, kind, host.idBase);
      } finally {
        closeSync(directory);
      }
      return wanted;
    }
    const { tree, at } = around ?? { tree: ROOT_TREE, at: '/' };
    const inTree = at === '/' ? under : under.slice(at.length) || '/';
    const known = placement.missing.get(tree) ?? { at, places: [] };
    placement.missing.set(tree, { at, places: [...known.places, { under: inTree, names, kind }] });
    skipped.push(wanted);
    return undefined;
  }

  for (const [index, source] of sources.entries()) {
    const { target } = spec.mounts[index] ?? { target: '/' };
    if (skipped.some((outer) => isWithin(join(target), outer))) continue;
    const at = placeFor(target, source.isDirectory ? 'directory' : 'file');
    if (at === undefined) continue;
    if (at === '/' || at === '/dev' || CLOSED.some((closed) => isWithin(at, closed))) {
      throw invalidRequest(`nothing can be mounted at ${target}`);
    }
    if (isWithin(at, '/dev')) {
      placement.crunMounts.push(stageForCrun(source, at, join(paths.mounts, `dev-${round}-${index}`)));
      continue;
    }
    const stubbed = await withStubs(attempt, source, index, round);
    try {
      const staged = stage(stubbed, join(paths.mounts, `placed-${round}-${index}`));
      mountAt(staged, root, at);
    } finally {
      if (stubbed !== source) closeSources([stubbed]);
    }
    placed.push({ tree: index, at, source });
  }
  for (const { target, kind } of CRUN_TARGETS) placeFor(target, kind);
  return placement;
}

/** Mount points inside of what nobody may write to lie in a layer over it. */
async function withStubs(
  { host, paths }: Attempt,
  source: MountSource,
  index: number,
  round: number,
): Promise<MountSource> {
  const stubs = stubsPath(paths, index);
  if (!existsSync(stubs)) return source;
  const target = join(paths.mounts, `stubbed-${round}-${index}`);
  mkdirSync(target, { mode: 0o711 });
  // By this process's number, because a tool may do it.
  await host.mountOverlay({ layers: [`/proc/${process.pid}/fd/${source.fd}`, stubs], target });
  return { ...source, fd: openSync(target, O_PATH | constants.O_DIRECTORY) };
}

function bind(source: MountSource, target: string): void {
  mount(`/proc/self/fd/${source.fd}`, target, null, MS_BIND, null);
  try {
    mount('none', target, null, MS_BIND | MS_REMOUNT | source.flags, null);
  } catch (error) {
    unmountQuietly(target);
    throw error;
  }
}

/** At a place of its own, where nobody sees it. */
function stage(source: MountSource, staged: string): string {
  if (source.isDirectory) mkdirSync(staged, { mode: 0o711 });
  else writeFileSync(staged, '', { mode: 0o600 });
  bind(source, staged);
  return staged;
}

/** With the flags that it has where it is staged: the place in the root is never without them, and is held, not named. */
function mountAt(staged: string, root: OpenRoot, at: string): void {
  const place = holdPlace(root, at);
  try {
    mount(staged, pathOf(place), null, MS_BIND, null);
  } finally {
    closeSync(place);
    unmountQuietly(staged);
  }
}

/** crun has a /dev of its own over the one of the root. */
function stageForCrun(source: MountSource, destination: string, staged: string): Mount {
  stage(source, staged);
  const options = ['bind', 'nosuid', 'nodev'];
  if ((source.flags & MS_RDONLY) !== 0) options.push('ro');
  if ((source.flags & MS_NOEXEC) !== 0) options.push('noexec');
  return { destination, type: 'bind', source: staged, options };
}
