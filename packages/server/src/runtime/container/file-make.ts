import { chmodSync, chownSync, closeSync, constants, fstatSync } from 'node:fs';
import { conflict, errnoOf, invalidRequest } from '../../platform/errors.ts';
import { mkdirAt, openat2, symlinkAt } from '../../platform/libc-files.ts';
import type { FileOwner } from '../types.ts';
import { locate } from './container-root.ts';
import { lookUp, makeIn, PLAIN_NAME, withPlace } from './directory-place.ts';
import { bytesOfName } from './name-bytes.ts';
import { refuseKernelFile } from './regular-file.ts';

/** How a directory that is made shall be. The ids are the host's. */
export interface NewDirectory {
  mode: number;
  owner: FileOwner;
}

export async function makeDirectoryInRoot(
  root: number,
  path: string,
  options: NewDirectory & { parents: boolean },
): Promise<void> {
  if (options.parents) {
    const made = await openMakingParents(root, path, options);
    closeSync(made);
    return;
  }
  await withPlace(root, path, async (directory, name) => {
    await refuseKernelFile(directory, path);
    closeSync(makeDirectoryAt(directory, name, options));
  });
}

/**
 * Opens a directory, making what is missing of it. Links on the way are the sandbox's own and stay in its root. Parents get
 * the usual permissions, whatever the last one gets.
 */
export async function openMakingParents(root: number, path: string, last: NewDirectory): Promise<number> {
  const found = openIfThere(root, path);
  if (found !== undefined) return found;
  const names = path.replace(/\/+$/, '').split('/');
  const name = names.pop() ?? '';
  if (name === '..') throw invalidRequest(`${path}: there is no directory to go up from`);
  const above = await openMakingParents(root, names.join('/') || '/', { ...last, mode: 0o755 });
  if (name === '' || name === '.') return above;
  try {
    await refuseKernelFile(above, path);
    return makeDirectoryAt(above, bytesOfName(name), last);
  } catch (error) {
    // Somebody else made it, or a dangling link is there; the kernel decides once more.
    if (errnoOf(error) !== 'EEXIST') throw error;
    return locate(root, path, constants.O_DIRECTORY);
  } finally {
    closeSync(above);
  }
}

function openIfThere(root: number, path: string): number | undefined {
  try {
    return locate(root, path, constants.O_DIRECTORY);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' && path !== '/') return undefined;
    throw error;
  }
}

/** Makes and opens it. Only what is still as we made it gets its owner; a directory that was swapped in keeps its own. */
export function makeDirectoryAt(above: number, name: Buffer, { mode, owner }: NewDirectory): number {
  let maker = 0;
  makeIn(above, (uid) => {
    maker = uid;
    mkdirAt(above, name, 0o700);
  });
  const made = openat2(above, name, { flags: constants.O_RDONLY | constants.O_DIRECTORY, resolve: PLAIN_NAME });
  const stats = fstatSync(made);
  if (stats.uid === maker && (stats.mode & 0o777) === 0o700) {
    const itself = `/proc/self/fd/${made}`;
    chownSync(itself, owner.uid, owner.gid);
    // A directory takes setgid from the one above it.
    chmodSync(itself, mode | (stats.mode & 0o2000));
  }
  return made;
}

export async function makeLinkInRoot(root: number, path: string, target: string, owner: FileOwner): Promise<void> {
  if (target === '' || target.includes('\0')) throw invalidRequest('the target of the link is not a path');
  await withPlace(root, path, async (directory, name) => {
    await refuseKernelFile(directory, path);
    const existing = lookUp(directory, name);
    if (existing !== undefined) {
      closeSync(existing.fd);
      throw conflict(`${path} exists already`);
    }
    makeIn(directory, () => symlinkAt(bytesOfName(target), directory, name));
    const made = lookUp(directory, name);
    if (made === undefined) return;
    try {
      // Through our own descriptor the link itself is meant, not what it leads to.
      if (made.stats.isSymbolicLink()) chownSync(`/proc/self/fd/${made.fd}`, owner.uid, owner.gid);
    } finally {
      closeSync(made.fd);
    }
  });
}
