import koffi from 'koffi';

/**
 * System calls that Node has no name for, through libc. All are synchronous and short; a failed one raises `SystemCallError` with
 * the errno's name in `code`, like Node's own file system errors. Never `unshare` here: Node is multi-threaded.
 * `setns` is for `libc-socket.ts` alone.
 */
export const libc = koffi.load('libc.so.6');

const ERRNO_NAMES = new Map(Object.entries(koffi.os.errno).map(([name, value]) => [value, name]));

export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;

  constructor(syscall: string, errno: number, subject: string) {
    const code = ERRNO_NAMES.get(errno) ?? `E${errno}`;
    super(`${code}: ${syscall} ${subject}`.trim());
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

export type Path = string | Buffer;

/** Paths may be bytes that are not UTF-8; C wants them with a terminating zero. */
export function cPath(path: Path): Buffer {
  return typeof path === 'string' ? Buffer.from(`${path}\0`) : Buffer.concat([path, Buffer.of(0)]);
}

export function checked(syscall: string, result: number, subject: Path = ''): number {
  if (result >= 0) return result;
  throw new SystemCallError(syscall, koffi.errno(), subject.toString());
}

const c = {
  mount: libc.func(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  ),
  umount2: libc.func('int umount2(const char *target, int flags)'),
  syncfs: libc.func('int syncfs(int fd)'),
  flock: libc.func('int flock(int fd, int operation)'),
  lsetxattr: libc.func('int lsetxattr(const void *path, const char *name, const void *value, size_t size, int flags)'),
  lgetxattr: libc.func('long lgetxattr(const void *path, const char *name, _Out_ uint8_t *value, size_t size)'),
  llistxattr: libc.func('long llistxattr(const void *path, _Out_ uint8_t *list, size_t size)'),
  lremovexattr: libc.func('int lremovexattr(const void *path, const char *name)'),
  mknod: libc.func('int mknod(const void *path, uint32_t mode, uint64_t dev)'),
};

export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_NOATIME = 1024;
export const MS_BIND = 4096;
export const MNT_DETACH = 2;

export function mount(source: string, target: string, type: string | null, flags: number, data: string | null): void {
  checked('mount', c.mount(source, target, type, flags, data), target);
}

export function unmount(target: string, flags = 0): void {
  checked('umount2', c.umount2(target, flags), target);
}

/** Waits until everything of the file system that `fd` lies on is on disk. */
export function syncfs(fd: number): void {
  checked('syncfs', c.syncfs(fd));
}

const LOCK_EX = 2;
const LOCK_NB = 4;

/** Takes the exclusive lock of an open file; false when another open of the file has it. It goes with the last descriptor. */
export function tryLockFile(fd: number): boolean {
  const result = c.flock(fd, LOCK_EX | LOCK_NB);
  // One number with two names.
  if (result < 0 && koffi.errno() === koffi.os.errno.EAGAIN) return false;
  checked('flock', result);
  return true;
}

export function setXattr(path: Path, name: string, value: Buffer): void {
  checked('lsetxattr', c.lsetxattr(cPath(path), name, value, value.length, 0), path);
}

export function getXattr(path: Path, name: string): Buffer | undefined {
  const value = Buffer.alloc(65536);
  const size = c.lgetxattr(cPath(path), name, value, value.length);
  if (size < 0 && ERRNO_NAMES.get(koffi.errno()) === 'ENODATA') return undefined;
  return value.subarray(0, checked('lgetxattr', size, path));
}

export function listXattrs(path: Path): string[] {
  // Most files have none, and a buffer for the longest list costs more than everything else here.
  if (checked('llistxattr', c.llistxattr(cPath(path), null, 0), path) === 0) return [];
  const list = Buffer.alloc(65536);
  const size = checked('llistxattr', c.llistxattr(cPath(path), list, list.length), path);
  return list.subarray(0, size).toString('latin1').split('\0').filter(Boolean);
}

export function removeXattr(path: Path, name: string): void {
  checked('lremovexattr', c.lremovexattr(cPath(path), name), path);
}

/** A node that `mode` describes (type and permissions); the device is major 0, minor 0 unless it is given. */
export function mknod(path: Path, mode: number, dev = 0): void {
  checked('mknod', c.mknod(cPath(path), mode, dev), path);
}
