import { randomBytes } from 'node:crypto';
import { closeSync, constants, fchmodSync, fchownSync, fstatSync, readlinkSync, writev } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { errnoOf, invalidRequest } from '../../platform/errors.ts';
import { failpointSync } from '../../platform/failpoints.ts';
import { linkOpenFile, O_TMPFILE, openat2, renameAt, unlinkAt } from '../../platform/libc-files.ts';
import { reopen } from './container-root.ts';
import { pathInDirectory } from './directory-names.ts';
import { type Entry, lookUp, makeIn, onOneMount, PLAIN_NAME } from './directory-place.ts';
import { openMakingParents } from './file-make.ts';
import { bytesOfName, nameOfBytes } from './name-bytes.ts';
import { refuseKernelFile, refuseSpecial } from './regular-file.ts';

export interface WriteInput {
  root: number;
  path: string;
  content: Readable;
  /** Ids of the host. */
  owner: { uid: number; gid: number };
}

const MAX_LINKS = 40;
/** Chunks of a connection are small, and each write waits for a thread. */
const WRITE_SIZE = 512 * 1024;

/** Where a write goes: a directory that is held open, and a name in it that is no link. */
interface Target {
  parent: number;
  name: string;
  /** What has the name now. */
  existing: Entry | undefined;
}

/** Writes beside the target and renames over it; parents are made on the way. What fails leaves the old file. */
export async function writeFileInRoot(input: WriteInput): Promise<{ size: number }> {
  const target = await findTarget(input);
  try {
    const { existing } = target;
    if (existing) {
      refuseSpecial(existing.stats, input.path);
      await refuseKernelFile(existing.fd, input.path);
      // A file with a mount of its own (/etc/hosts): a rename would put the new file under the mount.
      if (!onOneMount(existing.fd, target.parent)) return await writeInPlace(existing.fd, input.content);
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
async function findTarget({ root, path, owner }: WriteInput): Promise<Target> {
  let current = path;
  for (let links = 0; links <= MAX_LINKS; links += 1) {
    const name = basename(current);
    if (name === '' || name === '.' || name === '..' || current.endsWith('/')) {
      throw invalidRequest(`${path} is a directory`);
    }
    const parent = await openMakingParents(root, dirname(current), { mode: 0o755, owner });
    const existing = lookUp(parent, bytesOfName(name));
    if (!existing?.stats.isSymbolicLink()) return { parent, name, existing };
    try {
      // readlink of a name in a held directory follows nothing; a relative link is taken from the link's directory.
      const link = nameOfBytes(readlinkSync(pathInDirectory(parent, bytesOfName(name)), { encoding: 'buffer' }));
      current = link.startsWith('/') ? link : `${dirname(current)}/${link}`;
    } finally {
      closeSync(existing.fd);
      closeSync(parent);
    }
  }
  throw invalidRequest(`${path}: too many symbolic links`);
}

async function writeBeside(target: Target, { content, owner }: WriteInput): Promise<{ size: number }> {
  const { parent, existing } = target;
  const temporary = `.darkroom-${randomBytes(8).toString('hex')}`;
  const { fd, isNamed } = openBeside(parent, temporary);
  try {
    await pour(content, fd);
    const { size } = fstatSync(fd);
    fchownSync(fd, existing?.stats.uid ?? owner.uid, existing?.stats.gid ?? owner.gid);
    fchmodSync(fd, existing ? existing.stats.mode & 0o777 : 0o644);
    failpointSync('file.poured');
    if (!isNamed) makeIn(parent, () => linkOpenFile(fd, parent, temporary));
    makeIn(parent, () => renameAt(parent, temporary, bytesOfName(target.name)));
    return { size };
  } catch (error) {
    unlinkQuietly(parent, temporary);
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** Without a name, where the file system can: what a server was in the middle of writing when it was killed then goes with it. */
function openBeside(parent: number, name: string): { fd: number; isNamed: boolean } {
  const open = (path: string, flags: number) =>
    makeIn(parent, () => openat2(parent, path, { flags, mode: 0o600, resolve: PLAIN_NAME }));
  try {
    return { fd: open('.', constants.O_WRONLY | constants.O_DIRECTORY | O_TMPFILE), isNamed: false };
  } catch (error) {
    // `EISDIR`: the kernel does not know it, or not for an overlay.
    if (!['EOPNOTSUPP', 'EISDIR', 'EINVAL'].includes(errnoOf(error) ?? '')) throw error;
  }
  return {
    fd: open(name, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW),
    isNamed: true,
  };
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
 * by the time that we close it. Reading on when some is written is the backpressure.
 */
async function pour(content: Readable, fd: number): Promise<void> {
  let waiting: Buffer[] = [];
  let length = 0;
  for await (const chunk of content) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
    waiting.push(bytes);
    length += bytes.length;
    if (length < WRITE_SIZE) continue;
    await writeAll(fd, waiting);
    waiting = [];
    length = 0;
  }
  await writeAll(fd, waiting);
}

async function writeAll(fd: number, buffers: readonly Buffer[]): Promise<void> {
  let left = buffers.filter(({ length }) => length > 0);
  while (left.length > 0) {
    let written = await writevAsync(fd, left);
    // A full disk may take the beginning only; the next call then says why.
    left = left.flatMap((buffer) => {
      const taken = Math.min(written, buffer.length);
      written -= taken;
      return taken === buffer.length ? [] : [buffer.subarray(taken)];
    });
  }
}

function writevAsync(fd: number, buffers: readonly Buffer[]): Promise<number> {
  return new Promise((resolve, reject) => {
    writev(fd, buffers, (error, written) => (error ? reject(error) : resolve(written)));
  });
}

function unlinkQuietly(parent: number, name: string): void {
  try {
    unlinkAt(parent, name);
  } catch {
    // The sandbox may have removed it, or its directory.
  }
}
