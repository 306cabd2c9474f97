import { type BigIntStats, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { errnoOf } from '../../platform/errors.ts';
import { bytesOfName, nameOfBytes } from '../../runtime/container/name-bytes.ts';
import { parentOf, type TreePath } from './tree-path.ts';

/** A tree of files that nobody changes while it is looked at. Symlinks on the way are never followed: such a path is nothing. */
export interface TreeView {
  lstat(path: TreePath): BigIntStats | undefined;
  /** The text of a symlink. */
  readlink(path: TreePath): string;
  /** The names in a directory, in order. */
  names(path: TreePath): string[];
  /** The place on the host of something that `lstat` found. */
  locate(path: TreePath): string | Buffer;
  /** Another place of the same bytes, which they can be shared with. */
  origin?(path: TreePath, stats: BigIntStats): string | Buffer | undefined;
  /** Whether something is there that an ignore file leaves out. */
  leavesOut?(path: TreePath): boolean;
}

/** The tree below an open directory. */
export function openTree(directory: number): TreeView {
  return treeAt(`/proc/self/fd/${directory}`);
}

export function treeAt(root: string): TreeView {
  // Directories whose way up to the root has no symlink in it.
  const real = new Set<TreePath>(['']);
  const locate = (path: TreePath) => hostPath(root, path);

  function isReal(path: TreePath): boolean {
    if (real.has(path)) return true;
    if (!isReal(parentOf(path)) || statAt(locate(path))?.isDirectory() !== true) return false;
    real.add(path);
    return true;
  }

  return {
    locate,
    lstat: (path) => (isReal(parentOf(path)) ? statAt(locate(path)) : undefined),
    readlink: (path) => nameOfBytes(readlinkSync(locate(path), { encoding: 'buffer' })),
    names: (path) => (isReal(path) ? namesAt(locate(path)) : []),
  };
}

export function hostPath(root: string, path: TreePath): string | Buffer {
  // The root may be given by a symlink, to an open directory.
  const full = `${root}/${path === '' ? '.' : path}`;
  return full.isWellFormed() ? full : bytesOfName(full);
}

export function statAt(path: string | Buffer): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if (errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

function namesAt(path: string | Buffer): string[] {
  return readdirSync(path, { encoding: 'buffer' }).sort(Buffer.compare).map(nameOfBytes);
}

export const EMPTY_TREE: TreeView = {
  lstat: () => undefined,
  names: () => [],
  locate: (path) => path,
  readlink: (path) => path,
};

/** The root directory with nothing in it. */
export function rootAlone(tree: TreeView): TreeView {
  return { ...tree, lstat: (path) => (path === '' ? tree.lstat(path) : undefined), names: () => [] };
}
