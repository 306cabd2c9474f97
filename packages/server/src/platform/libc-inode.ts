import { checked, cPath, libc, type Path } from './libc.ts';

/** Times and attributes of files, with all the digits that the kernel keeps. */
const c = {
  futimens: libc.func('int futimens(int fd, const void *times)'),
  utimensat: libc.func('int utimensat(int dirfd, const void *path, const void *times, int flags)'),
  fsetxattr: libc.func('int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)'),
};

const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;

// Calls are synchronous, so each thread needs one buffer only.
const times = new BigInt64Array(4);

function bothTimes(seconds: number, nanoseconds: number): BigInt64Array {
  times[0] = times[2] = BigInt(seconds);
  times[1] = times[3] = BigInt(nanoseconds);
  return times;
}

/** Sets access and modification time of an open file. */
export function setOpenFileTime(fd: number, seconds: number, nanoseconds: number): void {
  checked('futimens', c.futimens(fd, bothTimes(seconds, nanoseconds)));
}

/** The same by path; a symlink's own times are meant. */
export function setFileTime(path: Path, seconds: number, nanoseconds: number): void {
  const result = c.utimensat(AT_FDCWD, cPath(path), bothTimes(seconds, nanoseconds), AT_SYMLINK_NOFOLLOW);
  checked('utimensat', result, path);
}

export function setOpenFileXattr(fd: number, name: string, value: Buffer): void {
  checked('fsetxattr', c.fsetxattr(fd, name, value, value.length, 0), name);
}
