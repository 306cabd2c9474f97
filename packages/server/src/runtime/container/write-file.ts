import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  readFileSync,
  readlinkSync,
  type Stats,
  write,
} from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { errnoOf, invalidRequest } from '../../platform/errors.ts';
import {
  mkdirAt,
  O_PATH,
  openat2,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  renameAt,
  unlinkAt,
} from '../../platform/libc-files.ts';
import { locate, reopen } from './container-root.ts';
import { refuseKernelFile, refuseSpecial } from './regular-file.ts';

export interface WriteInput {
  root: number;
  path: string;
  content: Readable;
  /** Ids of the host. */
  owner: { uid: number; gid: number };
}

const writeAsync = promisify(write);

const MAX_LINKS = 40;
/** One name in a directory that is held open: nothing to be resolved. */
const PLAIN_NAME = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;

/** Where a write goes: a directory that is held open, and a name in it that is no link. */
interface Target {
  parent: number;
  name: string;
  /** What has the name now. */
  existing: { fd: number; stats: Stats } | undefined;
}

/** Writes beside the target and renames over it; parents are made on the way. What fails leaves the old file. */
export async function writeFileInRoot(input: WriteInput): Promise<{ size: number }> {
  const target = findTarget(input);
  try {
    const { existing } = target;
    if (existing) {
      refuseSpecial(existing.stats, input.path);
      await refuseKernelFile(existing.fd, input.path);
      // A file with a mount of its own (/etc/hosts): a rename would put the new file under the mount.
      if (mountIdOf(existing.fd) !== mountIdOf(target.parent)) return await writeInPlace(existing.fd, input.content);
    } else {
      await refuseKernelFile(target.parent, input.path);
    }
    return await writeBeside(target, input);
  } catch (error) {
    input.content.destroy();
    throw error;
  } finally {
    closeSync(target.parent);
    if (target.existing) closeSync(target.existing.fd);
  }
}

/** Follows a link at the end of the path by hand, because it is the file that it names that must be replaced, not the link. */
function findTarget({ root, path, owner }: WriteInput): Target {
  let current = normalize(path);
  for (let links = 0; links <= MAX_LINKS; links += 1) {
    const name = basename(current);
    if (name === '' || name === '.' || name === '..' || current.endsWith('/')) {
      throw invalidRequest(`${path} is a directory`);
    }
    const parent = openParents(root, dirname(current), owner);
    const existing = lookUp(parent, name);
    if (!existing?.stats.isSymbolicLink()) return { parent, name, existing };
    try {
      // readlink of a name in a held directory follows nothing; a relative link is taken from the link's directory.
      const link = readlinkSync(`/proc/self/fd/${parent}/${name}`);
      current = link.startsWith('/') ? normalize(link) : normalize(join(dirname(current), link));
    } finally {
      closeSync(existing.fd);
      closeSync(parent);
    }
  }
  throw invalidRequest(`${path}: too many symbolic links`);
}

function lookUp(parent: number, name: string): Target['existing'] {
  try {
    const fd = openat2(parent, name, { flags: O_PATH | constants.O_NOFOLLOW, resolve: RESOLVE_BENEATH });
    return { fd, stats: fstatSync(fd) };
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Opens a directory, making what is missing of it for the owner. Links on the way are the sandbox's own and stay in its root. */
function openParents(root: number, path: string, owner: WriteInput['owner']): number {
  const found = openDirectory(root, path);
  if (found !== undefined) return found;
  const above = openParents(root, dirname(path), owner);
  try {
    return makeDirectory(above, basename(path), owner);
  } catch (error) {
    // Somebody else made it, or a dangling link is there; the kernel decides once more.
    if (errnoOf(error) !== 'EEXIST') throw error;
    return locate(root, path, constants.O_DIRECTORY);
  } finally {
    closeSync(above);
  }
}

function openDirectory(root: number, path: string): number | undefined {
  try {
    return locate(root, path, constants.O_DIRECTORY);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' && path !== '/') return undefined;
    throw error;
  }
}

function makeDirectory(above: number, name: string, owner: WriteInput['owner']): number {
  mkdirAt(above, name, 0o755);
  const made = openat2(above, name, { flags: constants.O_RDONLY | constants.O_DIRECTORY, resolve: PLAIN_NAME });
  // Only what we have just made is still the host's root's; a directory that was swapped in keeps its owner.
  if (fstatSync(made).uid === 0) fchownSync(made, owner.uid, owner.gid);
  return made;
}

async function writeBeside(target: Target, { content, owner }: WriteInput): Promise<{ size: number }> {
  const { parent, existing } = target;
  const temporary = `.darkroom-${randomBytes(8).toString('hex')}`;
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const fd = openat2(parent, temporary, { flags, mode: 0o600, resolve: PLAIN_NAME });
  try {
    await pour(content, fd);
    const { size } = fstatSync(fd);
    fchownSync(fd, existing?.stats.uid ?? owner.uid, existing?.stats.gid ?? owner.gid);
    fchmodSync(fd, existing ? existing.stats.mode & 0o777 : 0o644);
    renameAt(parent, temporary, target.name);
    return { size };
  } catch (error) {
    unlinkQuietly(parent, temporary);
    throw error;
  } finally {
    closeSync(fd);
  }
}

async function writeInPlace(place: number, content: Readable): Promise<{ size: number }> {
  const fd = reopen(place, constants.O_WRONLY | constants.O_TRUNC);
  try {
    await pour(content, fd);
    return { size: fstatSync(fd).size };
  } finally {
    closeSync(fd);
  }
}

/**
 * By hand and not by a stream of Node's, which closes the descriptor on some of its failures: the number could be another file's
 * by the time that we close it. One chunk at a time is the backpressure.
 */
async function pour(content: Readable, fd: number): Promise<void> {
  for await (const chunk of content) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await writeAsync(fd, bytes, done, bytes.length - done);
      done += bytesWritten;
    }
  }
}

function unlinkQuietly(parent: number, name: string): void {
  try {
    unlinkAt(parent, name);
  } catch {
    // The sandbox may have removed it, or its directory.
  }
}

/** Two places are on one mount when the kernel gives their descriptors one mount id. */
function mountIdOf(fd: number): string | undefined {
  return /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
}
