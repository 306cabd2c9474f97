import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoOf, invalidRequest } from '../../platform/errors.ts';
import { MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, mount } from '../../platform/libc.ts';
import { O_PATH } from '../../platform/libc-files.ts';
import type { ContainerHost } from '../container/container-host.ts';
import { checkPath, locate } from '../container/container-root.ts';
import type { StepMount, StepSpec } from '../step-types.ts';
import { type StepPaths, stepLayout } from './step-layout.ts';

/** What is to be mounted, held by a descriptor, so that nobody can put something else in its place. */
export interface MountSource {
  fd: number;
  isDirectory: boolean;
  flags: number;
  /** Where a mount lies inside of this one, and its target is missing: whether it can be made there. */
  canBeWritten: boolean;
}

const GUARDED = MS_NOSUID | MS_NODEV;

/** The caller closes it. What is mounted for it lies in the directories of the step. */
export async function openSource(
  host: ContainerHost,
  spec: StepSpec,
  paths: StepPaths,
  index: number,
): Promise<MountSource> {
  const step = spec.mounts[index];
  if (step === undefined) throw invalidRequest(`there is no mount ${index}`);
  const place = join(paths.mounts, String(index));
  switch (step.kind) {
    case 'bind':
      return openBelow(step.root, step.path, step.writable);
    case 'tree':
      if (!step.writable) return openBelow(step.root, step.path, false);
      await mountThrowAway(host, [step.root], paths, index);
      return openBelow(place, step.path, true);
    case 'layers':
      if (!step.writable) return openBelow(await mountMerged(host, step.layers, place), step.path, false);
      await mountThrowAway(host, step.layers, paths, index);
      return openBelow(place, step.path, true);
    case 'tmpfs':
      mountTmpfs(place, step.sizeBytes ?? spec.limits.memoryBytes, host.idBase);
      return openBelow(place, '/', true);
    case 'file':
      return makeFile(host, step, paths, index);
  }
}

export function closeSources(sources: readonly MountSource[]): void {
  for (const { fd } of sources) closeSync(fd);
}

function openBelow(root: string, path: string, writable: boolean): MountSource {
  const wanted = path.startsWith('/') ? path : `/${path}`;
  checkPath(wanted);
  const directory = openSync(root, O_PATH | constants.O_DIRECTORY);
  let fd: number;
  try {
    fd = locate(directory, wanted);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP') {
      throw invalidRequest(`${path} is not in what is to be mounted`, { cause: error });
    }
    throw error;
  } finally {
    closeSync(directory);
  }
  const stats = fstatSync(fd);
  if (!stats.isDirectory() && !stats.isFile()) {
    closeSync(fd);
    throw invalidRequest(`${path} is neither a directory nor a file and cannot be mounted`);
  }
  const flags = writable ? GUARDED : GUARDED | MS_RDONLY;
  return { fd, isDirectory: stats.isDirectory(), flags, canBeWritten: writable };
}

/** Where they are. */
async function mountMerged(host: ContainerHost, layers: readonly string[], target: string): Promise<string> {
  const { emptyDir } = stepLayout(host.layout);
  if (layers.length === 0) return emptyDir;
  mkdirSync(target, { mode: 0o711 });
  await host.mountOverlay({ layers: [emptyDir, ...layers], target });
  return target;
}

async function mountThrowAway(
  host: ContainerHost,
  layers: readonly string[],
  paths: StepPaths,
  index: number,
): Promise<void> {
  const target = join(paths.mounts, String(index));
  const upper = join(paths.scratch, `upper-${index}`);
  const work = join(paths.scratch, `work-${index}`);
  for (const dir of [target, upper, work]) mkdirSync(dir, { mode: 0o755 });
  takeRoot(layers.at(-1), upper, host.idBase);
  const lower = layers.length === 0 ? [stepLayout(host.layout).emptyDir] : layers;
  await host.mountOverlay({ layers: lower, upper, work, target, volatile: true });
}

/** Of two merged directories the upper one is seen. */
export function takeRoot(topLayer: string | undefined, upper: string, idBase: number): void {
  const { uid, gid, mode } = topLayer === undefined ? { uid: idBase, gid: idBase, mode: 0o755 } : statSync(topLayer);
  chownSync(upper, uid, gid);
  chmodSync(upper, mode & 0o7777);
}

function mountTmpfs(target: string, sizeBytes: number, idBase: number): void {
  mkdirSync(target, { mode: 0o711 });
  mount('tmpfs', target, 'tmpfs', GUARDED, `size=${sizeBytes},mode=1777,uid=${idBase},gid=${idBase}`);
}

/** On a ramfs, because the pages of a tmpfs may be written to a swap device. Nobody writes there, so it needs no bound. */
function makeFile(
  { idBase, idCount }: ContainerHost,
  step: Extract<StepMount, { kind: 'file' }>,
  { files }: StepPaths,
  index: number,
): MountSource {
  if (step.uid >= idCount || step.gid >= idCount) throw invalidRequest(`ids in a step are below ${idCount}`);
  if (mkdirSync(files, { recursive: true, mode: 0o711 }) !== undefined) {
    mount('ramfs', files, 'ramfs', GUARDED, 'mode=711');
  }
  const path = join(files, String(index));
  writeFileSync(path, step.content, { mode: 0o600, flag: 'wx' });
  chownSync(path, idBase + step.uid, idBase + step.gid);
  chmodSync(path, step.mode & 0o7777);
  const source = openBelow(files, `/${index}`, false);
  return (step.mode & 0o111) === 0 ? { ...source, flags: source.flags | MS_NOEXEC } : source;
}
