import { randomBytes } from 'node:crypto';
import { closeSync, rmdir, unlink } from 'node:fs';
import { promisify } from 'node:util';
import { conflict, errnoOf, invalidRequest } from '../../platform/errors.ts';
import { moveAt, rmdirAt } from '../../platform/libc-files.ts';
import { closeAll, namesIn, openDirectoryAt, pathInDirectory } from './directory-names.ts';
import { lookUp, onOneMount, withPlace } from './directory-place.ts';
import { refuseKernelFile } from './regular-file.ts';

const unlinkAsync = promisify<Buffer, void>(unlink);
const rmdirAsync = promisify<Buffer, void>(rmdir);

export interface RemoveInput {
  root: number;
  path: string;
  recursive: boolean;
  signal: AbortSignal;
}

export function removePath({ root, path, recursive, signal }: RemoveInput): Promise<void> {
  return withPlace(root, path, async (directory, name) => {
    const isDirectory = await checkRemovable(directory, name, path);
    if (!isDirectory) return unlinkAsync(pathInDirectory(directory, name));
    if (!recursive) throw invalidRequest(`${path} is a directory`, { hint: 'Delete it recursively.' });
    await removeTreeAt(directory, name, signal);
  });
}

export function removeEmptyDirectory(root: number, path: string): Promise<void> {
  return withPlace(root, path, async (directory, name) => {
    if (!(await checkRemovable(directory, name, path))) throw invalidRequest(`${path} is not a directory`);
    await rmdirAsync(pathInDirectory(directory, name));
  });
}

/**
 * From the host's mount namespace the kernel would let a mount point of the sandbox go, and take the mount with it. Only the
 * sandbox's own processes could put another one there, and they cannot mount. Says whether it is a directory.
 */
export async function checkRemovable(directory: number, name: Buffer, path: string): Promise<boolean> {
  await refuseKernelFile(directory, path);
  const entry = lookUp(directory, name);
  // The kernel's own words for it.
  if (entry === undefined) return false;
  try {
    if (!onOneMount(directory, entry.fd)) throw conflict(`${path} is a mount point of the sandbox`);
    return entry.stats.isDirectory();
  } finally {
    closeSync(entry.fd);
  }
}

/** Levels of directories that may be open at a time. */
const MAX_OPEN = 64;
/** What was moved up comes in a later pass; and new files may appear while the old ones go. */
const MAX_PASSES = 10_000;

/**
 * Removes a directory and what is in it, from descriptor to descriptor, so that nothing outside of it can be met on the way.
 * What lies very deep is first moved up, so that the depth costs no descriptors.
 */
export async function removeTreeAt(directory: number, name: Buffer, signal: AbortSignal): Promise<void> {
  const top = openDirectoryAt(directory, name);
  // Swapped meanwhile: then it is a file or a link, and goes as one.
  if (top === undefined) return unlinkAsync(pathInDirectory(directory, name));
  try {
    await emptyDirectory({ fd: top, top, depth: 1, signal });
  } finally {
    closeSync(top);
  }
  rmdirAt(directory, name);
}

interface Emptying {
  fd: number;
  top: number;
  depth: number;
  signal: AbortSignal;
}

async function emptyDirectory(at: Emptying): Promise<void> {
  for (let pass = 1; ; pass += 1) {
    // A directory that changes while it is read may leave names out; the one that is empty says so.
    if ((await removeNames(at)) === 0) return;
    if (pass === MAX_PASSES) throw conflict('a process of the sandbox fills the directory while it is deleted');
  }
}

async function removeNames(at: Emptying): Promise<number> {
  let seen = 0;
  for await (const batch of namesIn(at.fd)) {
    at.signal.throwIfAborted();
    seen += batch.length;
    const files = batch.filter(({ isDirectory }) => !isDirectory);
    const ends = await Promise.allSettled(files.map(({ name }) => unlinkAsync(pathInDirectory(at.fd, name))));
    for (const [index, end] of ends.entries()) {
      const file = files[index];
      if (end.status === 'rejected' && file !== undefined) await settle(end.reason, at, file.name);
    }
    for (const { name, isDirectory } of batch) if (isDirectory) await removeBelow(at, name);
  }
  return seen;
}

/** What could not be unlinked may be gone, or have become a directory. */
async function settle(error: unknown, at: Emptying, name: Buffer): Promise<void> {
  const code = errnoOf(error);
  if (code === 'ENOENT') return;
  if (code === 'EISDIR') return removeBelow(at, name);
  throw error;
}

async function removeBelow(at: Emptying, name: Buffer): Promise<void> {
  if (at.depth >= MAX_OPEN && movedUp(at, name)) return;
  const below = openDirectoryAt(at.fd, name);
  try {
    if (below === undefined) await unlinkAsync(pathInDirectory(at.fd, name));
    else {
      if (!onOneMount(below, at.fd)) throw conflict('a mount point of the sandbox is in the directory');
      await emptyDirectory({ ...at, fd: below, depth: at.depth + 1 });
      await rmdirAsync(pathInDirectory(at.fd, name));
    }
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  } finally {
    if (below !== undefined) closeAll([below]);
  }
}

/** To the top, whose next pass meets it. Overlay file systems refuse that for directories of the image, which are not so deep. */
function movedUp(at: Emptying, name: Buffer): boolean {
  try {
    const up = `.darkroom-${randomBytes(8).toString('hex')}`;
    moveAt({ directory: at.fd, name }, { directory: at.top, name: up }, { replace: false });
    return true;
  } catch (error) {
    if (errnoOf(error) === 'EXDEV' && at.depth < 16 * MAX_OPEN) return false;
    throw error;
  }
}
