import koffi from 'koffi';
import { checked, cPath, libc, type Path } from './libc.ts';

/** Calls that work from an open directory, so that nobody can change what a path means between two of them. */
const c = {
  openat2: libc.func('long syscall(long number, int dirfd, const void *path, const void *how, size_t size)'),
  mkdirat: libc.func('int mkdirat(int dirfd, const void *path, uint32_t mode)'),
  unlinkat: libc.func('int unlinkat(int dirfd, const void *path, int flags)'),
  renameat: libc.func('int renameat(int from, const void *fromPath, int to, const void *toPath)'),
  linkat: libc.func('int linkat(int from, const void *fromPath, int to, const void *toPath, int flags)'),
  renameat2: libc.func('int renameat2(int from, const void *fromPath, int to, const void *toPath, uint32_t flags)'),
  symlinkat: libc.func('int symlinkat(const void *target, int dirfd, const void *path)'),
  readlinkat: libc.func('long readlinkat(int dirfd, const void *path, _Out_ uint8_t *target, size_t size)'),
  mknodat: libc.func('int mknodat(int dirfd, const void *path, uint32_t mode, uint64_t dev)'),
  pipe2: libc.func('int pipe2(_Out_ int *fds, int flags)'),
};

/** The newer system calls have the same number on every architecture that matters here. */
const SYS_OPENAT2 = 437;

/** `O_PATH` of asm-generic: not in `fs.constants`. The others are. */
export const O_PATH = 0o10000000;
export const O_CLOEXEC = 0o2000000;

const AT_REMOVEDIR = 0x200;
const AT_FDCWD = -100;
const AT_SYMLINK_FOLLOW = 0x400;
const RENAME_NOREPLACE = 1;
const S_IFIFO = 0o010000;

/** `O_TMPFILE` of asm-generic, without the `O_DIRECTORY` that is part of it. */
export const O_TMPFILE = 0o20000000;

export const RESOLVE_NO_MAGICLINKS = 0x02;
export const RESOLVE_NO_SYMLINKS = 0x04;
export const RESOLVE_BENEATH = 0x08;
export const RESOLVE_IN_ROOT = 0x10;

export interface OpenHow {
  flags: number;
  /** Permissions of a file that is made; must be absent otherwise. */
  mode?: number;
  resolve: number;
}

/** Opens relative to a directory under the given rules of path resolution; close-on-exec always. */
export function openat2(directory: number, path: Path, how: OpenHow): number {
  const buffer = Buffer.alloc(24);
  buffer.writeBigUInt64LE(BigInt(how.flags | O_CLOEXEC), 0);
  buffer.writeBigUInt64LE(BigInt(how.mode ?? 0), 8);
  buffer.writeBigUInt64LE(BigInt(how.resolve), 16);
  // A resolution under RESOLVE_IN_ROOT that races with a rename anywhere on the machine gives up with EAGAIN; the next try is as good as the first.
  for (let attempt = 1; ; attempt += 1) {
    const result = Number(c.openat2(SYS_OPENAT2, directory, cPath(path), buffer, buffer.length));
    if (result < 0 && koffi.errno() === koffi.os.errno.EAGAIN && attempt < 64) continue;
    return checked('openat2', result, path);
  }
}

export function mkdirAt(directory: number, name: Path, mode: number): void {
  checked('mkdirat', c.mkdirat(directory, cPath(name), mode), name);
}

export function unlinkAt(directory: number, name: Path): void {
  checked('unlinkat', c.unlinkat(directory, cPath(name), 0), name);
}

export function rmdirAt(directory: number, name: Path): void {
  checked('unlinkat', c.unlinkat(directory, cPath(name), AT_REMOVEDIR), name);
}

export function symlinkAt(target: Path, directory: number, name: Path): void {
  checked('symlinkat', c.symlinkat(cPath(target), directory, cPath(name)), name);
}

/** The target of a link that is open by `O_PATH`. */
export function readLinkOf(fd: number): Buffer {
  const target = Buffer.alloc(4096);
  return target.subarray(0, checked('readlinkat', Number(c.readlinkat(fd, cPath(''), target, target.length))));
}

export function makeFifoAt(directory: number, name: Path): void {
  checked('mknodat', c.mknodat(directory, cPath(name), S_IFIFO | 0o600, 0), name);
}

/** One name of an open directory. */
export interface NameAt {
  directory: number;
  name: Path;
}

/** A move between two open directories of one file system; raises `EEXIST` instead of replacing if so told. */
export function moveAt(from: NameAt, to: NameAt, options: { replace: boolean }): void {
  const flags = options.replace ? 0 : RENAME_NOREPLACE;
  const result = c.renameat2(from.directory, cPath(from.name), to.directory, cPath(to.name), flags);
  checked('renameat2', result, to.name);
}

export function renameAt(directory: number, from: Path, to: Path): void {
  checked('renameat', c.renameat(directory, cPath(from), directory, cPath(to)), to);
}

/** Gives an open file that was made without a name one, where nothing has it. */
export function linkOpenFile(fd: number, directory: number, name: Path): void {
  const from = cPath(`/proc/self/fd/${fd}`);
  checked('linkat', c.linkat(AT_FDCWD, from, directory, cPath(name), AT_SYMLINK_FOLLOW), name);
}

/** A pipe whose ends are not inherited unless they are handed over. */
export function pipe(): { read: number; write: number } {
  const fds = [-1, -1];
  checked('pipe2', c.pipe2(fds, O_CLOEXEC));
  const [read, write] = fds;
  if (read === undefined || write === undefined) throw new Error('pipe2 gave no descriptors');
  return { read, write };
}
