import { closeSync, existsSync, openSync } from 'node:fs';
import { errnoOf } from './errors.ts';
import { checked, libc, mknod, SystemCallError } from './libc.ts';

/** Loop devices and mounted ext4 file systems by ioctl: a tool for each would cost more than what it does. */
const c = {
  mount: libc.func(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  ),
  ioctl: libc.func('int ioctl(int fd, unsigned long request, void *data)'),
  syncfs: libc.func('int syncfs(int fd)'),
  ioctlNumber: libc.func('int ioctl(int fd, unsigned long request, long number)'),
};

const LOOP_GET_STATUS64 = 0x4c05;
const LOOP_SET_CAPACITY = 0x4c07;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_GET_FREE = 0x4c82;
const LO_FLAGS_AUTOCLEAR = 4;
const LO_FLAGS_DIRECT_IO = 16;
/** `struct loop_info64` and `struct loop_config` (linux/loop.h). */
const INFO_SIZE = 232;
const CONFIG_SIZE = 304;
const CONFIG_INFO = 8;
const INFO_FLAGS = 52;
const INFO_FILE_NAME = 56;
const FILE_NAME_SIZE = 64;

const EXT4_IOC_RESIZE_FS = 0x40086610;
const LOOP_MAJOR = 7;
const S_IFBLK = 0o060000;
/** Others take free devices too, and only one can have each. */
const ATTEMPTS = 64;
/** No node, no device behind it, nothing attached to it. */
const NO_DEVICE: ReadonlySet<string> = new Set(['ENOENT', 'ENXIO', 'ENODEV']);

export interface LoopAttachment {
  number: number;
  /** While it is open the device stays; afterwards it goes with the last mount from it. */
  fd: number;
}

/**
 * A loop device over an open file, with direct I/O, that frees itself with its last use. `announce` is called with the number
 * before the device is made, so that it can be found again whatever happens next.
 */
export async function attachLoop(
  file: number,
  blockSize: number,
  announce: (number: number) => void,
): Promise<LoopAttachment> {
  const control = openSync('/dev/loop-control', 'r+');
  try {
    for (let attempt = 1; ; attempt += 1) {
      const number = checked('LOOP_CTL_GET_FREE', c.ioctlNumber(control, LOOP_CTL_GET_FREE, 0));
      const fd = openSync(deviceNode(number), 'r+');
      try {
        announce(number);
        await configure(fd, file, blockSize, number);
        return { number, fd };
      } catch (error) {
        closeSync(fd);
        const taken = error instanceof SystemCallError && error.code === 'EBUSY';
        if (!taken || attempt >= ATTEMPTS) throw error;
      }
    }
  } finally {
    closeSync(control);
  }
}

async function configure(fd: number, file: number, blockSize: number, number: number): Promise<void> {
  const config = Buffer.alloc(CONFIG_SIZE);
  config.writeUInt32LE(file, 0);
  config.writeUInt32LE(blockSize, 4);
  config.writeUInt32LE(LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO, CONFIG_INFO + INFO_FLAGS);
  config.write('darkroom', CONFIG_INFO + INFO_FILE_NAME, FILE_NAME_SIZE - 1, 'latin1');
  // Waits until all of the file is on disk.
  await inThread('LOOP_CONFIGURE', String(number), (done) => c.ioctl.async(fd, LOOP_CONFIGURE, config, done));
}

/** mount(2) for a file system on a device, which waits for its disk. */
export function mountDevice(device: string, target: string, type: string, flags: number, data: string): Promise<void> {
  return inThread('mount', target, (done) => c.mount.async(device, target, type, flags, data, done));
}

/** Resolves when everything of the file system that `fd` lies on is on disk. */
export function syncFileSystem(fd: number): Promise<void> {
  return inThread('syncfs', String(fd), (done) => c.syncfs.async(fd, done));
}

type Done = (error: Error | null, result: number) => void;

/** For calls that wait for a disk, so that nobody else waits with them. The library hands the thread's errno over. */
function inThread(syscall: string, subject: string, call: (done: Done) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    call((error, result) => {
      try {
        if (error !== null) throw error;
        checked(syscall, result, subject);
        resolve();
      } catch (failure) {
        reject(failure);
      }
    });
  });
}

/** The node of a loop device, which is made where no devtmpfs makes it. */
export function deviceNode(number: number): string {
  const path = `/dev/loop${number}`;
  // glibc's makedev for a minor below 2^20.
  const device = (LOOP_MAJOR << 8) | (number & 0xff) | ((number & 0xfff00) << 12);
  if (!existsSync(path)) mknod(path, S_IFBLK | 0o600, device);
  return path;
}

/**
 * Holds a device that lies over exactly this file; undefined when it lies over another or none. The caller closes it. Raises when
 * it cannot be known: who takes that for none would put a second device over the file.
 */
export function holdLoop(number: number, file: { dev: number; ino: number }): number | undefined {
  const path = `/dev/loop${number}`;
  let fd: number;
  try {
    fd = openSync(path, 'r+');
  } catch (error) {
    if (NO_DEVICE.has(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
  try {
    const info = Buffer.alloc(INFO_SIZE);
    checked('LOOP_GET_STATUS64', c.ioctl(fd, LOOP_GET_STATUS64, info), path);
    const isIt = info.readBigUInt64LE(8) === BigInt(file.ino) && sameDevice(info.readBigUInt64LE(0), file.dev);
    if (isIt) return fd;
  } catch (error) {
    if (!NO_DEVICE.has(errnoOf(error) ?? '')) {
      closeSync(fd);
      throw error;
    }
  }
  closeSync(fd);
  return undefined;
}

/** The loop driver speaks of devices as the kernel's `huge_encode_dev`, which for file systems without a disk is the number itself. */
function sameDevice(said: bigint, dev: number): boolean {
  const major = (dev >> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  const encoded = BigInt((minor & 0xff) | (major << 8)) | (BigInt(minor >> 8) << 20n);
  return said === encoded || said === BigInt(dev);
}

/** Makes the device as large as its file has become. */
export function refreshLoop(fd: number): void {
  checked('LOOP_SET_CAPACITY', c.ioctlNumber(fd, LOOP_SET_CAPACITY, 0));
}

/** Grows a mounted ext4 to this many blocks, by a descriptor of anything in it. Needs CAP_SYS_RESOURCE. */
export function resizeExt4(fd: number, blocks: bigint): void {
  const count = Buffer.alloc(8);
  count.writeBigUInt64LE(blocks);
  checked('EXT4_IOC_RESIZE_FS', c.ioctl(fd, EXT4_IOC_RESIZE_FS, count));
}

const FIFREEZE = 0xc0045877;
const FITHAW = 0xc0045878;

/** Holds every write to the file system of a directory back, with all that was written on disk; or lets them go on. */
export function fsFreeze(directory: string, frozen: boolean): void {
  const fd = openSync(directory, 'r');
  try {
    fsFreezeOpen(fd, frozen);
  } finally {
    closeSync(fd);
  }
}

/** The same by a descriptor of any directory in it: a thaw must not fail for want of another. */
export function fsFreezeOpen(fd: number, frozen: boolean): void {
  checked(frozen ? 'FIFREEZE' : 'FITHAW', c.ioctlNumber(fd, frozen ? FIFREEZE : FITHAW, 0));
}

const EXT4_IOC_SHUTDOWN = 0x8004587d;
const GOING_FLAGS_NOLOGFLUSH = 2;

/** Ends the mounted ext4 of a directory as a power cut would: nothing more is written to it, and unmounting it does not wait. */
export function shutDownExt4(directory: string): void {
  const fd = openSync(directory, 'r');
  try {
    const flags = Buffer.alloc(4);
    flags.writeUInt32LE(GOING_FLAGS_NOLOGFLUSH);
    checked('EXT4_IOC_SHUTDOWN', c.ioctl(fd, EXT4_IOC_SHUTDOWN, flags), directory);
  } finally {
    closeSync(fd);
  }
}
