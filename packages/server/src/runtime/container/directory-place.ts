import { closeSync, constants, fstatSync, readFileSync, type Stats } from 'node:fs';
import { errnoOf, invalidRequest, undefinedIfMissing } from '../../platform/errors.ts';
import { O_PATH, openat2, RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS } from '../../platform/libc-files.ts';
import { withFileSystemIds } from '../../platform/libc-ids.ts';
import { locate } from './container-root.ts';
import { bytesOfName } from './name-bytes.ts';

/** One name in a directory that is held open: nothing to be resolved. */
export const PLAIN_NAME = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;

/** Something by its name in a directory that is held open, found without following it. */
export interface Entry {
  fd: number;
  stats: Stats;
}

/** Calls back with the directory that a path's last name is in, and that name; a link there is not followed. */
export async function withPlace<T>(
  root: number,
  path: string,
  use: (directory: number, name: Buffer) => T | Promise<T>,
): Promise<T> {
  const trimmed = path.replace(/\/+$/, '');
  const cut = trimmed.lastIndexOf('/') + 1;
  const name = trimmed.slice(cut);
  if (name === '' || name === '.' || name === '..') throw invalidRequest(`${path} has no name of its own`);
  const directory = locate(root, trimmed.slice(0, cut), constants.O_DIRECTORY);
  try {
    return await use(directory, bytesOfName(name));
  } finally {
    closeSync(directory);
  }
}

/** Undefined when nothing has the name. The caller closes the descriptor. */
export function lookUp(directory: number, name: Buffer | string): Entry | undefined {
  try {
    const fd = openat2(directory, name, { flags: O_PATH | constants.O_NOFOLLOW, resolve: RESOLVE_BENEATH });
    return { fd, stats: fstatSync(fd) };
  } catch (error) {
    return undefinedIfMissing(error);
  }
}

/**
 * Makes something in a directory. On the sandbox's own file systems, such as `/dev/shm`, the host's root has no id to own it
 * by; there it is made as the directory's owner, whose host id is handed over.
 */
export function makeIn<T>(directory: number, make: (uid: number) => T): T {
  try {
    return make(0);
  } catch (error) {
    if (errnoOf(error) !== 'EOVERFLOW') throw error;
    const { uid, gid } = fstatSync(directory);
    return withFileSystemIds({ uid, gid }, () => make(uid));
  }
}

/** Two places are on one mount when the kernel gives their descriptors one mount id. */
export function onOneMount(one: number, other: number): boolean {
  return mountIdOf(one) === mountIdOf(other);
}

function mountIdOf(fd: number): string | undefined {
  return /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
}
