import koffi from 'koffi';
import { checked, cPath, libc, type Path, SystemCallError } from './libc.ts';

/** What copying many files needs, without an allocation for each of them. */
const c = {
  ioctlFd: libc.func('int ioctl(int fd, unsigned long request, long argument)'),
  copyFileRange: libc.func(
    'long copy_file_range(int from, void *fromOffset, int to, void *toOffset, size_t length, uint32_t flags)',
  ),
  posixFadvise: libc.func('int posix_fadvise(int fd, long offset, long length, int advice)'),
  llistxattr: libc.func('long llistxattr(const void *path, void *list, size_t size)'),
  lgetxattr: libc.func('long lgetxattr(const void *path, const char *name, void *value, size_t size)'),
};

/** `_IOW(0x94, 9, int)` of linux/fs.h. */
const FICLONE = 0x40049409;
/** `POSIX_FADV_DONTNEED` of fcntl.h. */
const DONTNEED = 4;
/** `XATTR_SIZE_MAX` and `XATTR_LIST_MAX` of linux/limits.h. */
const scratch = Buffer.alloc(65536);

/** Makes `to` share the bytes of `from`; false where the file system, or the pair, cannot. */
export function cloneFile(from: number, to: number): boolean {
  const result = c.ioctlFd(to, FICLONE, from);
  if (result >= 0) return true;
  const { ENOSPC, EDQUOT, EIO } = koffi.os.errno;
  const errno = koffi.errno();
  if (errno === ENOSPC || errno === EDQUOT || errno === EIO) throw new SystemCallError('ficlone', errno, '');
  return false;
}

/** What was read of a file is read from its disk the next time. Changes that are not written back stay; and it is advice, so nothing tells whether it was taken. */
export function forgetCached(fd: number): void {
  c.posixFadvise(fd, 0, 0, DONTNEED);
}

/** Copies at both files' own positions. 0 at the end; undefined where the kernel will not do it for this pair. */
export function copyFileRange(from: number, to: number, length: number): number | undefined {
  const result = Number(c.copyFileRange(from, null, to, null, length, 0));
  if (result >= 0) return result;
  const { ENOSYS, EXDEV, EINVAL, EPERM, EOPNOTSUPP } = koffi.os.errno;
  const errno = koffi.errno();
  if ([ENOSYS, EXDEV, EINVAL, EPERM, EOPNOTSUPP].includes(errno)) return undefined;
  throw new SystemCallError('copy_file_range', errno, '');
}

/** All extended attributes of a name that is not followed; names as latin1 strings of their bytes. */
export function readXattrs(path: Path, wanted: (name: string) => boolean): [name: string, value: Buffer][] {
  const at = cPath(path);
  const size = Number(c.llistxattr(at, scratch, scratch.length));
  if (size === 0) return [];
  if (size < 0 && koffi.errno() === koffi.os.errno.EOPNOTSUPP) return [];
  const names = scratch
    .toString('latin1', 0, checked('llistxattr', size, path))
    .split('\0')
    .filter(Boolean);
  return names.filter(wanted).map((name) => {
    const length = Number(c.lgetxattr(at, name, scratch, scratch.length));
    return [name, Buffer.from(scratch.subarray(0, checked('lgetxattr', length, path)))];
  });
}
