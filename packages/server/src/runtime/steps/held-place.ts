import { closeSync, constants, fchmodSync, fchownSync, fstatSync } from 'node:fs';
import { conflict, errnoOf } from '../../platform/errors.ts';
import { mkdirAt, openat2, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS } from '../../platform/libc-files.ts';
import { locate } from '../container/container-root.ts';
import { bytesOfName } from '../container/name-bytes.ts';
import { type OpenRoot, pathIn } from './find-place.ts';

const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const BENEATH = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;

/**
 * Opens a place that `findPlace` has found. Other steps may write at the same time to what a cache shares, so that its path may lead
 * elsewhere by now, out of the root too for whoever follows it by name. The caller closes it.
 */
export function holdPlace(root: OpenRoot, path: string): number {
  let fd: number;
  try {
    fd = locate(root.fd, path, constants.O_NOFOLLOW);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) throw changed(path, error);
    throw error;
  }
  if (pathIn(root, fd) === path && !fstatSync(fd).isSymbolicLink()) return fd;
  closeSync(fd);
  throw changed(path);
}

/** Where an open place is mounted on, or looked at, by name. */
export const pathOf = (fd: number) => `/proc/self/fd/${fd}`;

/** What is to be mounted on, with the directories before it, below an open directory. They belong to the root of the step. */
export function makePlace(under: number, names: readonly string[], kind: 'directory' | 'file', idBase: number): void {
  const [name, ...deeper] = names;
  if (name === undefined) return;
  if (kind === 'file' && deeper.length === 0) {
    makeFile(under, name, idBase);
    return;
  }
  const isNew = makeDirectory(under, name);
  const fd = openBeneath(under, name, DIRECTORY);
  try {
    if (isNew) fchownSync(fd, idBase, idBase);
    makePlace(fd, deeper, kind, idBase);
  } finally {
    closeSync(fd);
  }
}

function makeFile(under: number, name: string, idBase: number): void {
  let fd: number;
  try {
    fd = openat2(under, bytesOfName(name), { flags: NEW_FILE, mode: 0o644, resolve: BENEATH });
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return;
    throw error;
  }
  try {
    fchownSync(fd, idBase, idBase);
    fchmodSync(fd, 0o644);
  } finally {
    closeSync(fd);
  }
}

/** False when it was there. */
function makeDirectory(under: number, name: string): boolean {
  try {
    mkdirAt(under, bytesOfName(name), 0o755);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') return false;
    throw error;
  }
}

function openBeneath(under: number, name: string, flags: number): number {
  try {
    return openat2(under, bytesOfName(name), { flags, resolve: BENEATH });
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) throw changed(name, error);
    throw error;
  }
}

const changed = (path: string, cause?: unknown) =>
  conflict(`${path} was changed by another step while something was mounted there`, { cause, retryable: true });
