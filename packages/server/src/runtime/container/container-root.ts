import { closeSync, constants, openSync } from 'node:fs';
import {
  conflict,
  DarkroomError,
  errnoOf,
  forbidden,
  invalidRequest,
  messageOf,
  notFound,
} from '../../platform/errors.ts';
import { syncFileSystem } from '../../platform/libc-block.ts';
import { O_PATH, openat2, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from '../../platform/libc-files.ts';
import type { LiveContainer } from './live-container.ts';
import { bytesOfName } from './name-bytes.ts';

/** `/proc/<pid>/root` and the like lead anywhere; every other link leads to somewhere in the root. */
export const RESOLVE = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;

export const notRunning = (id: string) => conflict(`sandbox ${id} is not running`, { hint: 'Start it first.' });

/** Calls back with a descriptor of the container's root directory, as the container itself sees it. */
export async function withRoot<T>(container: LiveContainer, use: (root: number) => T | Promise<T>): Promise<T> {
  const root = openContainerRoot(container);
  try {
    return await use(root);
  } finally {
    closeSync(root);
  }
}

/** Resolves when all that was written to its files is on disk. */
export const syncFiles = (container: LiveContainer): Promise<void> =>
  withRoot(container, async (root) => {
    const directory = reopen(root, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await syncFileSystem(directory);
    } finally {
      closeSync(directory);
    }
  });

/** The caller closes it. */
export function openContainerRoot(container: LiveContainer): number {
  let root: number;
  try {
    root = openSync(`/proc/${container.rootPid}/root`, O_PATH | constants.O_DIRECTORY);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ESRCH') throw notRunning(container.id);
    throw error;
  }
  // Alive after the open means that the pid was this container's during the open.
  if (container.isAlive()) return root;
  closeSync(root);
  throw notRunning(container.id);
}

/** Names an inode without opening what is behind it: a FIFO does not block, a device hears nothing. */
export function locate(root: number, path: string, flags = 0): number {
  return openat2(root, bytesOfName(path), { flags: O_PATH | flags, resolve: RESOLVE });
}

/**
 * A second, real open of exactly this inode, through the kernel's link to our own descriptor. Without `O_NONBLOCK` a process of
 * the sandbox that holds a lease on the file (fcntl(2), F_SETLEASE) would stop the whole server for 45 seconds.
 */
export function reopen(fd: number, flags: number): number {
  try {
    return openSync(`/proc/self/fd/${fd}`, flags | constants.O_NONBLOCK);
  } catch (cause) {
    if (errnoOf(cause) !== 'EAGAIN') throw cause;
    throw leaseHeld(cause);
  }
}

export const leaseHeld = (cause: unknown) =>
  conflict('a process of the sandbox holds a lease on the file', { cause, retryable: true });

export function checkPath(path: string): void {
  if (!path.startsWith('/')) throw invalidRequest(`the path ${path} is not absolute`);
  if (path.includes('\0')) throw invalidRequest('the path has a zero byte');
  if (bytesOfName(path).length > 4095) throw invalidRequest('the path is longer than 4095 bytes');
}

/** A file call's failure in the words of the port. */
export function fileError(error: unknown, path: string): unknown {
  if (error instanceof DarkroomError) return error;
  const cause = { cause: error, details: { file: path } };
  switch (errnoOf(error)) {
    case 'ENOENT':
      return notFound(`${path} does not exist`, cause);
    case 'ENOTDIR':
      return invalidRequest(`${path}: a part of the path is not a directory`, cause);
    case 'EISDIR':
      return invalidRequest(`${path} is a directory`, cause);
    case 'ELOOP':
      return invalidRequest(`${path}: too many symbolic links, or one that leads out of the sandbox`, cause);
    case 'ENAMETOOLONG':
      return invalidRequest(`${path}: a name is too long`, cause);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'EXDEV':
      return forbidden(`${path} cannot be accessed`, cause);
    case 'EOVERFLOW':
      return forbidden(`${path} lies on a file system that only processes of the sandbox can write`, cause);
    case 'EEXIST':
      return conflict(`${path} exists already`, cause);
    case 'ENOTEMPTY':
      return conflict(`${path} is not empty`, cause);
    case 'EBUSY':
    case 'ETXTBSY':
      return conflict(`${path} is in use in the sandbox`, { ...cause, retryable: true });
    case 'EINVAL':
    case 'EOPNOTSUPP':
      return invalidRequest(`${path}: this cannot be done with it`, cause);
    case 'EMLINK':
      return invalidRequest(`${path}: the directory has too many entries`, cause);
    case 'EMFILE':
    case 'ENFILE':
      return new DarkroomError('unavailable', 'the server has too many files open', { ...cause, retryable: true });
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return new DarkroomError('insufficient_storage', `no space is left to write ${path}`, cause);
    default:
      return new DarkroomError('internal', `${path}: ${messageOf(error)}`, cause);
  }
}
